"""The section `segment`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsi_lpd.config.section import Section
from wsi_lpd.config.tile import TissueConfig


class SegmentConfig(Section):
    """From a slide and a model to a label map and polygons."""

    overlap: float = Field(0.5, ge=0, lt=1, description="Share of a window that its neighbour covers too.")
    window_px: int | None = Field(
        None, ge=32, description="Side of a window in pixels at the model's mpp; none = what suits the model."
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        description="Windows per forward pass; none = what suits the device. Processors make several passes at a time.",
    )
    engine: Literal["auto", "torch", "openvino"] = Field(
        "auto",
        description="Who runs the encoder on processors: `auto` is OpenVINO where it is installed, since it takes "
        "little more than half of the time.",
    )
    views: Literal[1, 2, 4, 8] = Field(
        1,
        description="Flips and turns of a window, moved by parts of a cell, that are averaged; the time grows with it.",
    )
    gate: Literal["auto", "predicted", "none"] = Field(
        "auto",
        description="Weigh a class by the probability that it occurs nearby, or do not; `auto` does, unless the model "
        "is a decoder, which needs no gate.",
    )
    refine: Literal["none", "pamr", "guided"] = Field(
        "none",
        description="Move outlines to the edges of the picture: pixel-adaptive mask refinement or a guided filter.",
    )
    tissue_margin_um: float = Field(
        16.0,
        ge=0,
        le=200,
        description="A model that knows background looks this far beyond the tissue that was found on the thumbnail, "
        "and says itself where tissue ends. Of no effect on a tissue mask that is given.",
    )
    min_tissue: float = Field(0.0, ge=0, lt=1, description="Windows with no more tissue than this are not looked at.")
    allow_upsampling: bool = Field(False, description="Take a slide that is coarser than the model by enlarging it.")
    grid_offset_px: int = Field(
        0, ge=0, description="Moves the window grid up and left, in model pixels; a check of how much it matters."
    )
    output_stride: int = Field(4, ge=1, description="Label-map pixels are this many model pixels wide.")
    simplify: float = Field(1.0, ge=0, description="Tolerance of the outline in label-map pixels; 0 keeps pixel edges.")
    max_vertices: int | None = Field(
        None, ge=1, description="The tolerance is raised until the overlay has no more positions; none = no limit."
    )
    min_area_um2: float = Field(
        400.0, ge=0, description="Smaller regions take the label that most of their border is with."
    )
    min_hole_um2: float | None = Field(
        None,
        ge=0,
        description="Smaller holes, such as the lumina of glands, take the label around them too; none = min_area_um2.",
    )
    merge: bool = Field(False, description="One MultiPolygon per class instead of one region per connected piece.")
    origin: Literal["auto", "level0", "bounds"] = Field(
        "auto", description="Frame of the overlay; `auto` is the one QuPath shows (bounds where the slide states them)."
    )
    tissue: TissueConfig = TissueConfig()
