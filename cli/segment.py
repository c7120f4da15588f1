"""`wsi-lpd segment`: slides and a model to tissue maps for QuPath."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import BarProgress, fail_if, given, print_json, say, user_errors
from ._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    SchedulerFileOption,
    SchedulerOption,
    SetOption,
    SlideMppOption,
    SlidesArgument,
    WorkersOption,
    configured,
    optional,
)

OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="Overlay to write (.geojson, .geojson.gz), or a folder for <slide>.geojson.",
    ),
]
OverlapOption = Annotated[
    float | None,
    configured("--overlap", metavar="FRACTION", help="Share of a window that its neighbour covers too.", default="0.5"),
]
GateOption = Annotated[
    str | None,
    configured(
        "--gate",
        metavar="GATE",
        help="Weigh each class by the probability that it occurs nearby: predicted, none, or auto (predicted, but "
        "none for a decoder).",
        default="auto",
    ),
]
SimplifyOption = Annotated[
    float | None,
    configured(
        "--simplify",
        metavar="PX",
        help="Tolerance of the outlines in label-map pixels; 0 follows pixel edges.",
        default="1",
    ),
]
MaxVerticesOption = Annotated[
    int | None,
    configured(
        "--max-vertices",
        metavar="N",
        help="Simplify further until the overlay has at most N vertices.",
        default="no limit",
    ),
]
MinAreaOption = Annotated[
    float | None,
    configured(
        "--min-area", metavar="UM2", help="Merge regions smaller than this into their surroundings.", default="400"
    ),
]
MinHoleOption = Annotated[
    float | None,
    configured("--min-hole", metavar="UM2", help="Fill holes smaller than this.", default="the value of --min-area"),
]
MergeOption = Annotated[
    bool | None,
    configured("--merge/--split", help="Write one MultiPolygon per class, or one region per piece.", default="split"),
]
OriginOption = Annotated[
    str | None,
    configured("--origin", metavar="FRAME", help="Frame of the overlay: auto, level0 or bounds.", default="auto"),
]
TissueMaskOption = Annotated[
    Path | None,
    configured(
        "--tissue-mask",
        metavar="FILE",
        help="Image or QuPath GeoJSON of the tissue, instead of detection.",
        default="none",
    ),
]
UpsamplingOption = Annotated[
    bool | None,
    configured("--allow-upsampling", help="Accept slides coarser than the model, by enlarging them.", default="off"),
]
MaskOption = Annotated[
    Path | None,
    optional("--mask", metavar="FILE", help="Also write the label map (.ome.tif).", default="none"),
]
PictureOption = Annotated[
    Path | None,
    optional("--picture", metavar="FILE", help="Also write a picture of the overlay (.png).", default="none"),
]


def segment(
    slides: SlidesArgument,
    out: OutOption,
    model: ModelOption = None,
    slide_mpp: SlideMppOption = None,
    overlap: OverlapOption = None,
    gate: GateOption = None,
    simplify: SimplifyOption = None,
    max_vertices: MaxVerticesOption = None,
    min_area: MinAreaOption = None,
    min_hole: MinHoleOption = None,
    merge: MergeOption = None,
    origin: OriginOption = None,
    tissue_mask: TissueMaskOption = None,
    allow_upsampling: UpsamplingOption = None,
    mask: MaskOption = None,
    picture: PictureOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    scheduler_file: SchedulerFileOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn slides into tissue maps for QuPath. No labels are needed.

    Re-running resumes an unfinished slide and skips finished ones; --overwrite starts over.
    """
    options = given(locals())
    with user_errors():
        from wsi_lpd.api import segment as segment_slides

        result = segment_slides(**options, on_error="collect", progress=BarProgress(), tell=say)
        if as_json:
            print_json(result.to_json())
    fail_if(result.failed)
