"""The files of `evaluate --out`: numbers for scripts, tables for people, a picture of the confusion matrix."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wsi_lpd.evaluation.confusion_picture import draw_confusion
from wsi_lpd.evaluation.protocols import GATES, ProtocolName, score
from wsi_lpd.evaluation.report import Report
from wsi_lpd.files import write_text
from wsi_lpd.overlay.raster.draw import write_picture

METRICS_FILE: Final = "metrics.json"
PER_IMAGE_FILE: Final = "per_image.csv"
CONFUSION_TABLE: Final = "confusion.csv"
CONFUSION_PICTURE: Final = "confusion.png"

_OF_FILES: Final = "as in the files"


def write_outputs(
    folder: Path, reports: Sequence[Report], protocols: Sequence[ProtocolName], summary: Mapping[str, Any]
) -> list[Path]:
    """Writes the four files to a folder, replacing those of an earlier call.

    Args:
        folder: Made where it is missing.
        reports: One per gate, at least one.
        protocols: Whose scores go into the table of images.
        summary: What `--json` prints.

    Returns:
        The files.
    """
    paths = [folder / name for name in (METRICS_FILE, PER_IMAGE_FILE, CONFUSION_TABLE, CONFUSION_PICTURE)]
    write_text(paths[0], json.dumps(summary, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    write_text(paths[1], _csv(_per_image(reports, protocols)))
    write_text(paths[2], _csv(_confusions(reports, protocols)))
    matrices = [(_title(report), report.counts) for report in reports]
    write_picture(paths[3], draw_confusion(matrices, ("background", *reports[0].classes)))
    return paths


def _per_image(reports: Sequence[Report], protocols: Sequence[ProtocolName]) -> Iterator[list[Any]]:
    classes = reports[0].classes
    scored = [f"{kind} {protocol}" for protocol in protocols for kind in ("mIoU", *(f"IoU {c}" for c in classes))]
    yield ["image", "group", "gate", "judged px", *(f"true px {c}" for c in classes), *scored]
    for report in reports:
        for image in report.images:
            truth = image.tally.counts.sum(axis=1)
            row = [image.name, image.group, _gate(report), int(truth.sum()), *truth[1:].tolist()]
            for protocol in protocols:
                scores = score(image.under(protocol).counts, classes, protocol)
                row += [_cell(scores.miou), *(_cell(c.iou) for c in scores.classes)]
            yield row


def _confusions(reports: Sequence[Report], protocols: Sequence[ProtocolName]) -> Iterator[list[Any]]:
    """The matrix of each gate, and a second one for a model under C, where it must not predict background."""
    names = ("background", *reports[0].classes)
    yield ["gate", "predicted background", "truth \\ prediction", *names]
    for report in reports:
        matrices = {"allowed": report.counts}
        if "C" in protocols and report.gate is not None:
            matrices["not allowed"] = report.total("C").counts
        for rule, counts in matrices.items():
            for name, row in zip(names, counts.tolist(), strict=True):
                yield [_gate(report), rule, name, *row]


def _gate(report: Report) -> str:
    return _OF_FILES if report.gate is None else report.gate


def _title(report: Report) -> str:
    if report.gate is None:
        return "prediction files"
    return f"gate {report.gate}: {GATES[report.gate]}; refinement {report.refinement}"


def _cell(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.6f}"


def _csv(rows: Iterator[list[Any]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()
