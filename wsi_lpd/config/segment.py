"""The section `segment`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsi_lpd.config.section import Section
from wsi_lpd.config.tile import TissueConfig


class SegmentConfig(Section):
    """From a slide and a model to a label map and polygons."""

    overlap: float = Field(0.5, ge=0, lt=1, description="Share of a window that its neighbour also covers.")
    window_px: int | None = Field(
        None, ge=32, description="Side of a window at the model's mpp; null = what suits the model."
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        description="Windows per forward pass; null = what suits the device.",
    )
    engine: Literal["auto", "torch", "openvino"] = Field(
        "auto",
        description=(
            "What runs the encoder on a CPU: `auto` is OpenVINO where it is installed, which takes little more "
            "than half the time of torch."
        ),
    )
    views: Literal[1, 2, 4, 8] = Field(
        1,
        description="Flips and turns of a window that are averaged; time grows in proportion.",
    )
    gate: Literal["auto", "predicted", "none"] = Field(
        "auto",
        description=(
            "Weight a class by the probability that it occurs nearby (`predicted`) or not (`none`); `auto` is "
            "what the model was made for."
        ),
    )
    refine: Literal["none", "pamr", "guided"] = Field(
        "none",
        description=(
            "Move outlines to the edges of the picture: pixel-adaptive mask refinement (`pamr`) or a `guided` filter."
        ),
    )
    tissue_margin_um: float = Field(
        16.0,
        ge=0,
        le=200,
        description=(
            "A model that knows background also looks this far beyond the detected tissue and decides "
            "itself where tissue ends; a tissue mask that is given is taken as it is."
        ),
    )
    min_tissue: float = Field(
        0.0, ge=0, lt=1, description="Windows with no more than this share of tissue are skipped."
    )
    allow_upsampling: bool = Field(
        False, description="Enlarge a slide that is coarser than the model instead of refusing it."
    )
    grid_offset_px: int = Field(
        0,
        ge=0,
        description=(
            "Move the window grid up and left by this much at the model's mpp, to check how much its place matters."
        ),
    )
    output_stride: int = Field(4, ge=1, description="Width of a map pixel, in pixels at the model's mpp.")
    simplify: float = Field(1.0, ge=0, description="Tolerance of the outlines, in map pixels; 0 keeps pixel edges.")
    max_vertices: int | None = Field(
        None,
        ge=1,
        description="Most vertices of the overlay: the tolerance is raised until it is met; null = no limit.",
    )
    min_area_um2: float = Field(
        400.0, ge=0, description="Regions smaller than this take the label of their longest border."
    )
    min_hole_um2: float | None = Field(
        None,
        ge=0,
        description=(
            "Holes smaller than this, such as the lumina of glands, take the label around them; null = min_area_um2."
        ),
    )
    merge: bool = Field(False, description="Write one MultiPolygon per class instead of one feature per region.")
    origin: Literal["auto", "level0", "bounds"] = Field(
        "auto",
        description=(
            "Where the overlay's coordinates begin: `auto` and `bounds` at the slide's bounds, as QuPath shows "
            "it, `level0` at the corner of level 0."
        ),
    )
    tissue: TissueConfig = TissueConfig()
