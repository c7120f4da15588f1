"""`wsi-lpd tile`: slides to patches, and the label file to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsi_lpd.memory import share_one_heap

from ._console import BarProgress, expect_no_matrices, fail_if, given, print_json, say, user_errors
from ._options import (
    ConfigOption,
    JsonOption,
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
    Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for <slide>.zarr, previews and patches.csv.")
]
MppOption = Annotated[
    float | None,
    configured("--mpp", metavar="MPP", help="Scale of the patches, micrometres per pixel.", default="0.5"),
]
PatchSizeOption = Annotated[
    int | None, configured("--patch-size", metavar="PX", help="Side of a patch in pixels at --mpp.", default="224")
]
StrideOption = Annotated[
    int | None,
    configured("--stride", metavar="PX", help="Step between patches in pixels at --mpp.", default="the patch size"),
]
MinTissueOption = Annotated[
    float | None,
    configured(
        "--min-tissue", metavar="FRACTION", help="Least tissue fraction of a patch, from 0 to 1.", default="0.5"
    ),
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
ClassesOption = Annotated[
    str | None,
    optional(
        "--classes",
        metavar="A,B,C",
        help="Class columns of patches.csv, such as Tumor,Stroma,Necrosis.",
        default="the classes of the annotations",
    ),
]
AnnotationsOption = Annotated[
    Path | None,
    optional(
        "--annotations",
        metavar="PATH",
        help="QuPath GeoJSON to label the patches from: a file, a folder of <slide>.geojson, or a quoted pattern such "
        "as 'truth/*.geojson'.",
        default="none",
    ),
]
CompleteOption = Annotated[
    bool,
    typer.Option(
        "--annotations-complete",
        help="Every area of every class is annotated: a class that is not drawn is absent, and no patch stays "
        "unlabelled.",
    ),
]
OriginOption = Annotated[
    str, typer.Option("--origin", metavar="FRAME", help="Frame of the annotations: auto, level0 or bounds.")
]
ThreadsOption = Annotated[
    int | None,
    optional(
        "--threads",
        min=1,
        metavar="N",
        help="Reading threads of each process.",
        default="the cores shared out, at most 8",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Predict patches, bytes and time from a few reads; write nothing.")
]


def tile(
    slides: SlidesArgument,
    out: OutOption = Path(),
    mpp: MppOption = None,
    patch_size: PatchSizeOption = None,
    stride: StrideOption = None,
    min_tissue: MinTissueOption = None,
    tissue_mask: TissueMaskOption = None,
    classes: ClassesOption = None,
    annotations: AnnotationsOption = None,
    annotations_complete: CompleteOption = False,
    origin: OriginOption = "auto",
    slide_mpp: SlideMppOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    scheduler_file: SchedulerFileOption = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut the tissue of slides into patches to label.

    Writes <slide>.zarr, a preview of each slide, and patches.csv to label the patches in.

    Re-running resumes unfinished slides, skips finished ones and keeps the labels in patches.csv; --overwrite starts
    over.
    """
    options = given(locals())
    expect_no_matrices()
    share_one_heap()
    with user_errors():
        from wsi_lpd.api import tile as tile_slides

        result = tile_slides(**options, on_error="collect", progress=BarProgress(), tell=say)
        if as_json:
            print_json(result.to_json())
    fail_if(result.failed)
