"""`wsi-lpd evaluate`: how well an overlay, a mask or a model agrees with the truth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wsi_lpd.datasets import DATA_SETS

from ._console import BarProgress, given, print_json, say, user_errors
from ._options import ConfigOption, DeviceOption, JsonOption, SetOption, configured, optional
from ._scores import reports_text


class ProtocolChoice(StrEnum):
    """What `--protocol` takes."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    BOTH = "both"
    ALL = "all"


class GateChoice(StrEnum):
    """What `--gate` takes."""

    AUTO = "auto"
    NONE = "none"
    PREDICTED = "predicted"
    ORACLE = "oracle"
    ALL = "all"


class RefinementChoice(StrEnum):
    """What `--refine` takes: the names of `wsi_lpd.prediction.refine.RefinementName`."""

    NONE = "none"
    PAMR = "pamr"
    GUIDED = "guided"


class CodingChoice(StrEnum):
    """What `--coding` takes: ours and those of the public data sets, the keys of `wsi_lpd.evaluation.read.CODINGS`."""

    _ignore_ = "members entry"
    members = vars()
    INDEX = "index"
    for entry in DATA_SETS:
        members[entry.key.replace("-", "_").upper()] = entry.key


TruthOption = Annotated[
    Path,
    typer.Option(
        "--truth",
        "-t",
        metavar="PATH",
        help="The truth: overlay, mask or folder of masks; with --model a folder with img/ and mask/.",
    ),
]
PredictionArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="PREDICTION",
        help="Overlay (.geojson, .geojson.gz), mask (.tif, .png) or folder of masks; leave out with --model.  "
        "[default: none]",
        show_default=False,
    ),
]
ModelOption = Annotated[
    Path | None,
    optional(
        "--model",
        metavar="RUN",
        help="Run folder: predict the images of --truth without labels, and score that.",
        default="none",
    ),
]
ImagesOption = Annotated[
    Path | None,
    optional(
        "--images",
        metavar="FOLDER",
        help="With --model: folder of the images.",
        default="img/ beside the masks",
    ),
]
ClassesOption = Annotated[
    str | None,
    optional(
        "--classes",
        metavar="A,B,C",
        help="Classes to score, in the order of the values of plain masks.",
        default="those the files name",
    ),
]
ProtocolOption = Annotated[
    ProtocolChoice,
    typer.Option(
        "--protocol",
        help="A leaves out true background. B and D count it: a class predicted there is wrong. C also forbids "
        "predicted background. both is A and B.",
    ),
]
GateOption = Annotated[
    GateChoice,
    typer.Option(
        "--gate",
        help="With --model: how classes are weighed. auto is predicted, but none for a decoder; oracle is a ceiling "
        "read off the truth, not a result.",
    ),
]
RefineOption = Annotated[
    RefinementChoice | None,
    configured("--refine", help="With --model: move outlines to the edges in the image.", default="none"),
]
CodingOption = Annotated[
    CodingChoice,
    typer.Option("--coding", help="What the values of plain masks mean. index: 0 background, classes from 1."),
]
PredictionCodingOption = Annotated[
    CodingChoice | None,
    optional("--prediction-coding", help="The same for predicted masks.", default="the value of --coding"),
]
DownsampleOption = Annotated[
    float | None,
    optional(
        "--truth-downsample",
        min=1.0,
        metavar="FACTOR",
        help="Level-0 pixels per pixel of a plain truth mask.",
        default="what the files state",
    ),
]
ImageMppOption = Annotated[
    float | None,
    optional(
        "--slide-mpp",
        min=0.01,
        metavar="MPP",
        help="With --model: micrometres per pixel of the images.",
        default="what names or data set state, else the model's",
    ),
]
GroupOption = Annotated[
    str,
    typer.Option(
        "--group-by",
        metavar="RULE",
        help="Which images are resampled together for the intervals: source (patient or slide, from the name), image, "
        "or a regular expression with one group.",
    ),
]
DrawsOption = Annotated[
    int, typer.Option("--draws", min=0, metavar="N", help="Bootstrap draws for the 95 % intervals; 0 = no intervals.")
]
BoundaryOption = Annotated[
    int | None,
    optional(
        "--boundary-px",
        min=1,
        metavar="PX",
        help="Depth of the boundary band.",
        default="2 % of the image diagonal",
    ),
]
OutOption = Annotated[
    Path | None,
    optional(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Folder for metrics.json, per_image.csv, confusion.csv and confusion.png.",
        default="write no files",
    ),
]


def evaluate(
    truth: TruthOption,
    prediction: PredictionArgument = None,
    model: ModelOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
    protocol: ProtocolOption = ProtocolChoice.BOTH,
    gate: GateOption = GateChoice.AUTO,
    refine: RefineOption = None,
    coding: CodingOption = CodingChoice.INDEX,
    prediction_coding: PredictionCodingOption = None,
    truth_downsample: DownsampleOption = None,
    slide_mpp: ImageMppOption = None,
    group_by: GroupOption = "source",
    draws: DrawsOption = 10_000,
    boundary_px: BoundaryOption = None,
    out: OutOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score a prediction against the truth.

    The prediction is a file, a folder, or what --model predicts. Prints IoU, Dice, boundary scores
    and the confusion matrix.
    """
    options = given(locals())
    with user_errors():
        from wsi_lpd.api import evaluate as evaluate_prediction

        result = evaluate_prediction(**options, progress=BarProgress(), tell=say)
    if as_json:
        print_json(result.to_json())
    else:
        typer.echo(reports_text(result.reports, result.protocols, draws))
