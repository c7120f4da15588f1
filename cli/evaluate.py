"""`wsi-lpd evaluate`: how well an overlay or mask agrees with the truth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ._console import print_json, user_errors
from ._options import JsonOption, class_names

if TYPE_CHECKING:
    from wsi_lpd.evaluate.evaluation import Report
    from wsi_lpd.evaluate.protocols import ProtocolName, Scores


class ProtocolChoice(StrEnum):
    """What `--protocol` takes."""

    A = "A"
    B = "B"
    BOTH = "both"


_PROTOCOLS: Final[dict[ProtocolChoice, tuple[ProtocolName, ...]]] = {
    ProtocolChoice.A: ("A",),
    ProtocolChoice.B: ("B",),
    ProtocolChoice.BOTH: ("A", "B"),
}


class CodingChoice(StrEnum):
    """What `--coding` takes: the keys of `wsi_lpd.evaluate.read.CODINGS`."""

    INDEX = "index"
    BCSS_WSSS = "bcss-wsss"
    LUAD_HISTOSEG = "luad-histoseg"
    WSSS4LUAD = "wsss4luad"


def evaluate(
    prediction: Annotated[
        Path,
        typer.Argument(metavar="PREDICTION", help="Overlay (.geojson, .geojson.gz), mask (.tif, .png) or mask folder."),
    ],
    truth: Annotated[
        Path, typer.Option("--truth", "-t", help="The truth: the same kinds; a folder has masks of the same names.")
    ],
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B,C", help="Classes to score, in the order of the values of plain masks."),
    ] = None,
    protocol: Annotated[
        ProtocolChoice,
        typer.Option("--protocol", help="A: true background is left out. B: it counts, classes there are wrong."),
    ] = ProtocolChoice.BOTH,
    coding: Annotated[
        CodingChoice,
        typer.Option("--coding", help="Values of plain masks. index: 0 background, classes from 1."),
    ] = CodingChoice.INDEX,
    prediction_coding: Annotated[
        CodingChoice | None,
        typer.Option("--prediction-coding", help="The same for the predicted masks, if they differ."),
    ] = None,
    truth_downsample: Annotated[
        float | None,
        typer.Option("--truth-downsample", min=1.0, help="Level-0 pixels per pixel of a plain truth mask."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score PREDICTION against the truth: IoU and Dice per class, their means, and the confusion matrix."""
    names = class_names(classes)
    protocols: tuple[ProtocolName, ...] = _PROTOCOLS[protocol]
    with user_errors():
        from wsi_lpd.evaluate.evaluation import evaluate_files

        report = evaluate_files(
            prediction,
            truth,
            classes=names,
            coding=coding.value,
            prediction_coding=None if prediction_coding is None else prediction_coding.value,
            truth_downsample=truth_downsample,
        )
    if as_json:
        print_json({"prediction": str(prediction), "truth": str(truth), **report.to_json(protocols)})
    else:
        typer.echo(_text(report, protocols))


def _text(report: Report, protocols: tuple[ProtocolName, ...]) -> str:
    images = "1 image" if report.n_images == 1 else f"{report.n_images} images"
    blocks = [f"{images}, compared on {report.grid}"]
    blocks += [_table(report.scores(name)) for name in protocols]
    return "\n\n".join([*blocks, _confusion(report)])


def _table(scores: Scores) -> str:
    from wsi_lpd.evaluate.protocols import PROTOCOLS

    width = max(len("class"), len("pixel accuracy"), *(len(score.name) for score in scores.classes))
    lines = [
        f"protocol {scores.protocol}: {PROTOCOLS[scores.protocol]}",
        f"  {'class':{width}}  {'IoU':>7} {'Dice':>7} {'prec.':>7} {'recall':>7} {'true px':>13} {'predicted px':>13}",
    ]
    for score in scores.classes:
        values = " ".join(f"{_number(v):>7}" for v in (score.iou, score.dice, score.precision, score.recall))
        lines.append(f"  {score.name:{width}}  {values} {score.truth_px:>13,} {score.predicted_px:>13,}")
    lines.append(f"  {'mean':{width}}  {_number(scores.miou):>7} {_number(scores.mdice):>7}")
    lines.append(f"  {'fwIoU':{width}}  {_number(scores.fwiou):>7}")
    lines.append(f"  {'pixel accuracy':{width}}  {_number(scores.pixel_accuracy):>7}")
    if scores.absent:
        lines.append(f"  not in the mean, as they occur nowhere: {', '.join(scores.absent)}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"


def _confusion(report: Report) -> str:
    names = ["background", *report.classes]
    width = max(len(name) for name in names)
    cell = max(12, width)
    lines = ["confusion matrix, pixels: rows truth, columns prediction", " " * (width + 2)]
    lines[1] += " ".join(f"{name:>{cell}}" for name in names)
    for name, row in zip(names, report.counts.tolist(), strict=True):
        lines.append(f"  {name:{width}}" + " ".join(f"{count:>{cell},}" for count in row))
    return "\n".join(lines)
