"""The section `tile`, and how tissue is found."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from wsi_lpd.config.section import Section


class TissueConfig(Section):
    """Where there is tissue, decided on a thumbnail."""

    preset: Literal["default", "pale", "dark", "everything"] = Field(
        "default",
        description=(
            "How to separate tissue from glass: `pale` also keeps faint tissue (fat, weak stain), `dark` suits "
            "thick or blurred slides, `everything` takes the whole slide."
        ),
    )
    mask: Path | None = Field(
        None, description="Image or QuPath GeoJSON that marks the tissue, instead of detecting it."
    )
    mpp: float = Field(8.0, gt=0, description="Resolution of the thumbnail on which tissue is detected.")
    min_area_um2: float = Field(20_000.0, ge=0, description="Drop pieces of tissue smaller than this.")
    max_hole_um2: float = Field(5_000.0, ge=0, description="Fill holes in tissue smaller than this.")


class TileConfig(Section):
    """How the tissue of a slide becomes patches."""

    mpp: float = Field(0.5, gt=0, description="Resolution of the patches.")
    patch_px: int = Field(224, ge=16, description="Side of a patch at `mpp`.")
    stride_px: int | None = Field(
        None,
        ge=1,
        description=("Step from one patch to the next at `mpp`; null = patch_px, so that patches do not overlap."),
    )
    min_tissue: float = Field(0.5, ge=0, le=1, description="A patch is kept if at least this share of it is tissue.")
    allow_upsampling: bool = Field(
        False, description="Enlarge a slide that is coarser than `mpp` instead of refusing it."
    )
    label_fraction: float = Field(
        0.05,
        gt=0,
        le=1,
        description="With annotations: a class that covers at least this share of a patch is labelled 1.",
    )
    annotated_fraction: float = Field(
        0.9,
        gt=0,
        le=1,
        description=(
            "With annotations: a class below label_fraction is labelled 0 if annotations cover at least this "
            "share of the patch's tissue, and left empty otherwise."
        ),
    )
    tissue: TissueConfig = TissueConfig()

    @property
    def step_px(self) -> int:
        """Step between patches, in pixels at `mpp`."""
        return self.patch_px if self.stride_px is None else self.stride_px
