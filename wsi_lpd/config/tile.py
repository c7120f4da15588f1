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
        description="`pale` keeps faint tissue (fat, weak stain), `dark` is for thick or blurred slides, "
        "`everything` switches the detection off.",
    )
    mask: Path | None = Field(None, description="Image or QuPath GeoJSON that replaces the detection.")
    mpp: float = Field(8.0, gt=0, description="Micrometres per pixel of the thumbnail it is decided on.")
    min_area_um2: float = Field(20_000.0, ge=0, description="Smaller pieces of tissue are dropped.")
    max_hole_um2: float = Field(5_000.0, ge=0, description="Smaller holes in tissue are filled.")


class TileConfig(Section):
    """How the tissue of a slide becomes patches."""

    mpp: float = Field(0.5, gt=0, description="Micrometres per pixel of a patch (BCSS-WSSS is 0.25).")
    patch_px: int = Field(224, ge=16, description="Side of a patch, in pixels at `mpp`.")
    stride_px: int | None = Field(None, ge=1, description="Step between patches in pixels at `mpp`; none = patch_px.")
    min_tissue: float = Field(0.5, ge=0, le=1, description="Least tissue fraction of a kept patch.")
    allow_upsampling: bool = Field(False, description="Read a slide that is coarser than `mpp` by enlarging it.")
    label_fraction: float = Field(
        0.05, gt=0, le=1, description="With annotations: a class that covers at least this share of a patch is 1."
    )
    annotated_fraction: float = Field(
        0.9,
        gt=0,
        le=1,
        description="With annotations: a class below `label_fraction` is 0 where annotations cover at least this share "
        "of the patch's tissue, and not labelled where they cover less.",
    )
    tissue: TissueConfig = TissueConfig()

    @property
    def step_px(self) -> int:
        """Step between patches, in pixels at `mpp`."""
        return self.patch_px if self.stride_px is None else self.stride_px
