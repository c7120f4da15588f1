"""Scores as text, for `wsi-lpd evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_lpd.evaluation.bootstrap import Interval, Intervals
    from wsi_lpd.evaluation.calibration_error import ImageLevelScores
    from wsi_lpd.evaluation.protocols import ProtocolName, Scores
    from wsi_lpd.evaluation.report import Report


def reports_text(reports: Sequence[Report], protocols: Sequence[ProtocolName], draws: int) -> str:
    """All reports; that of the oracle comes last, under a heading that says what it is."""
    ordered = sorted(reports, key=lambda report: report.gate == "oracle")
    blocks = [_report(report, protocols, draws) for report in ordered]
    if ordered[0].image_level is not None:
        blocks.append(_image_level(ordered[0].image_level))
    return "\n\n".join(blocks)


def _report(report: Report, protocols: Sequence[ProtocolName], draws: int) -> str:
    images = "1 image" if report.n_images == 1 else f"{report.n_images} images"
    if report.n_images > 1:
        images += " of 1 group" if report.n_groups == 1 else f" of {report.n_groups} groups"
    blocks = [f"{_heading(report)}{images}, compared on {report.grid}"]
    for name in protocols:
        intervals = report.intervals(name, draws=draws) if draws else None
        blocks.append(_table(report, report.scores(name), intervals, draws))
    return "\n\n".join([*blocks, _confusion(report)])


def _heading(report: Report) -> str:
    from wsi_lpd.evaluation.protocols import GATES

    if report.gate is None:
        return ""
    line = f"gate {report.gate}: {GATES[report.gate]}; refinement {report.refinement}\n"
    if report.gate != "oracle":
        return line
    return f"=== CEILING, NOT A RESULT: the gate read the classes off the true masks ===\n{line}"


def _table(report: Report, scores: Scores, intervals: Intervals | None, draws: int) -> str:
    from wsi_lpd.evaluation.protocols import PROTOCOLS

    rule = PROTOCOLS[scores.protocol]
    width = max(len("class"), len("pixel accuracy"), *(len(score.name) for score in scores.classes))
    near = scores.boundary.iou if scores.boundary is not None else (None,) * len(scores.classes)
    lines = [
        f"protocol {scores.protocol}: {rule.meaning}",
        f"  gate {report.gate or 'as in the files'}, refinement {report.refinement or 'as in the files'}; "
        f"published with {rule.published_with}",
        *(f"  note: {note}" for note in report.notes(scores.protocol)),
        f"  {'class':{width}}  {'IoU':>7} {'Dice':>7} {'prec.':>7} {'recall':>7} {'b. IoU':>7} {'true px':>13} "
        f"{'predicted px':>13}{'  95 % interval of IoU' if intervals else ''}",
    ]
    for score, band in zip(scores.classes, near, strict=True):
        values = " ".join(f"{_number(v):>7}" for v in (score.iou, score.dice, score.precision, score.recall, band))
        ends = _interval(intervals.iou[score.name]) if intervals else ""
        lines.append(f"  {score.name:{width}}  {values} {score.truth_px:>13,} {score.predicted_px:>13,}{ends}")
    blank = " " * 15
    mean_band = None if scores.boundary is None else scores.boundary.miou
    lines.append(
        f"  {'mean':{width}}  {_number(scores.miou):>7} {_number(scores.mdice):>7}{blank}  {_number(mean_band):>7}"
    )
    lines.append(f"  {'fwIoU':{width}}  {_number(scores.fwiou):>7}")
    lines.append(f"  {'pixel accuracy':{width}}  {_number(scores.pixel_accuracy):>7}")
    lines += _near_contours(scores) + _uncertainty(report, intervals, draws)
    if scores.absent:
        lines.append(f"  left out of the mean, as they occur nowhere: {', '.join(scores.absent)}")
    return "\n".join(lines)


def _near_contours(scores: Scores) -> list[str]:
    if scores.boundary is None:
        return []
    low, high = scores.boundary.width_px
    lines = [f"  b. IoU is Boundary IoU, {low if low == high else f'{low} to {high}'} px deep"]
    for radius, value in scores.boundary.trimap.items():
        lines.append(
            f"  mIoU within {radius} px of a border between true classes {_number(value)}, "
            f"elsewhere {_number(scores.boundary.interior[radius])}"
        )
    return lines


def _uncertainty(report: Report, intervals: Intervals | None, draws: int) -> list[str]:
    if not draws:
        return []
    if intervals is None:
        return ["  no interval: all images are of one group (source slide), so differences between slides are unknown"]
    means = (("mIoU", intervals.miou), ("mDice", intervals.mdice), ("Boundary mIoU", intervals.boundary_miou))
    return [
        f"  95 % intervals ({intervals.draws:,} draws of {intervals.n_groups} groups): "
        + ", ".join(f"{name}{_interval(interval)}" for name, interval in means)
    ]


def _interval(interval: Interval | None) -> str:
    return "  -" if interval is None else f"  {interval.low:.4f} to {interval.high:.4f}"


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


def _image_level(scores: ImageLevelScores) -> str:
    width = max(len("class"), *(len(name) for name in scores.classes))
    lines = [
        f"image level: calibrated presence against the labels of the masks, {scores.n_images} images",
        f"  expected calibration error {_number(scores.ece)} (15 bins), exact match {_number(scores.exact_match)}",
        f"  {'class':{width}}  {'F1':>7} {'ECE':>7} {'images':>15}",
    ]
    for name, f1, ece, n in zip(scores.classes, scores.f1, scores.ece_per_class, scores.present, strict=True):
        lines.append(f"  {name:{width}}  {_number(f1):>7} {_number(ece):>7} {n:>15,}")
    return "\n".join(lines)
