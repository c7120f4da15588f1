"""A curve as a table and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import Estimate, table
from wsi_lpd.files import replacing


@dataclass(frozen=True)
class Curve:
    """One figure.

    Attributes:
        title: What it shows.
        axis: Its label.
        rows: One line each.
        points: Where the runs are.
        settings: `key=value` lines of a point; `{x}` stands for its place.
        is_logarithmic: Whether the axis is; a point at 0 is at its left end.
    """

    title: str
    axis: str
    rows: tuple[str, ...]
    points: tuple[float, ...]
    settings: tuple[str, ...]
    is_logarithmic: bool = False


GATE = "predicted"
"""The gate that uses no label."""


@dataclass(frozen=True)
class Point:
    """A finished point of a row: its place, and the mIoU under protocol A."""

    row: str
    x: float
    seeds: int
    miou: Estimate


def markdown(curve: Curve, points: Sequence[Point]) -> str:
    """A line per point."""
    columns = ("method", curve.axis, "seeds", f"mIoU, {GATE} gate [95 % interval]")
    return table(columns, [(point.row, f"{point.x:g}", point.seeds, point.miou.text()) for point in points])


def draw(curve: Curve, points: Sequence[Point], path: Path) -> None:
    """Writes the figure as SVG, the same bytes for the same numbers."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "wsi-lpd", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for row in curve.rows:
            _draw_line(axes, row, [point for point in points if point.row == row])
        if curve.is_logarithmic:
            _set_scale(axes, curve.points)
        axes.set_xlabel(curve.axis)
        axes.set_ylabel(f"mIoU, {GATE} gate")
        axes.set_title(curve.title, fontsize="medium")
        axes.grid(alpha=0.3)
        if len(curve.rows) > 1:
            axes.legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})


def _draw_line(axes: Any, row: str, line: Sequence[Point]) -> None:
    if not line:
        return
    (drawn,) = axes.plot([point.x for point in line], [point.miou.mean for point in line], marker="o", label=row)
    ends = [(p.x, p.miou.low, p.miou.high) for p in line if p.miou.low is not None and p.miou.high is not None]
    if ends:
        xs, lows, highs = zip(*ends, strict=True)
        axes.fill_between(xs, lows, highs, alpha=0.15, color=drawn.get_color())


def _set_scale(axes: Any, points: Sequence[float]) -> None:
    least = min(x for x in points if x > 0)
    axes.set_xscale("symlog", linthresh=least) if 0 in points else axes.set_xscale("log")
    axes.set_xticks(points, [f"{x:g}" for x in points])
    axes.minorticks_off()
