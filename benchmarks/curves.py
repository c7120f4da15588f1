"""The figures of docs/methods.md: how many epochs, how many prototypes, how much diversity.

    python benchmarks/curves.py --out bench-curves [--curves epochs,prototypes,diversity] [--figures docs/figures]

Each point is the mean over seeds on the synthetic cohort, with the 95 % interval over slides and seeds. Every run
leaves one file in OUT/results, as with methods.py, and is not run again: a benchmark that was stopped goes on. Figures
go to `--figures` as SVG, numbers to stdout and OUT/curves.json. Needs matplotlib (the extra `dev` has it).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cohorts import synthetic_cohort
from machine import machine_line
from methods import Place, check, command_line, job_of, read, run_all, run_benchmark, sized
from one_run import Job
from resample import Estimate
from sizes import SIZES, BenchSize
from tables import Results

from wsi_lpd.files import replacing, write_text


@dataclass(frozen=True)
class Curve:
    """One figure.

    Attributes:
        title: What it shows.
        axis: What is told below it.
        rows: One line each.
        points: Where the runs are.
        settings: Of a point, `{x}` standing for it.
        is_logarithmic: The axis; a point at 0 is at its left end.
    """

    title: str
    axis: str
    rows: tuple[str, ...]
    points: tuple[float, ...]
    settings: tuple[str, ...]
    is_logarithmic: bool = False


CURVES = {
    "epochs": Curve(
        "How long it takes: every point is a training of its own, to the end of its schedule",
        "epochs",
        ("pscl", "cam", "lpd"),
        (1, 2, 3, 5, 10, 20),
        ("train.max_steps=null", "train.epochs={x}"),
        is_logarithmic=True,
    ),
    "prototypes": Curve(
        "LPD: prototypes per class",
        "prototypes per class",
        ("lpd",),
        (1, 2, 3, 5, 10, 20),
        ("model.prototypes_per_class={x}",),
        is_logarithmic=True,
    ),
    "diversity": Curve(
        "LPD: weight of the diversity term",
        "loss.diversity_weight",
        ("lpd",),
        (0, 0.05, 0.1, 0.2, 0.5, 1, 2),
        ("loss.diversity_weight={x}",),
        is_logarithmic=True,
    ),
}
GATE = "predicted"
"""No label is used to decide."""


@dataclass(frozen=True)
class Point:
    """A finished point: where, and the mIoU under protocol A."""

    row: str
    x: float
    seeds: int
    miou: Estimate


def main() -> None:
    """Runs what is missing, prints the numbers and draws the figures."""
    run_benchmark(_curves, _options())


def _curves(options: argparse.Namespace) -> list[Path]:
    """Returns the logs of the runs that failed."""
    size, place = sized(options), Place(options.out)
    jobs = planned_jobs(options.curves, size, seeds=options.seeds, points=options.points)
    check(jobs, place)
    missing = [job for job in jobs if not place.result(job).is_file()]
    print(f"{machine_line()}\n{len(missing)} runs to do, {options.jobs} at a time", file=sys.stderr)
    cohort = synthetic_cohort(options.out / "cohorts" / "synthetic", size)
    print(cohort.describe(), file=sys.stderr)
    failed = run_all(missing, {"synthetic": cohort}, place, options)
    found = {(job.cohort, job.row, job.seed): read(path) for job in jobs if (path := place.result(job)).is_file()}
    printed = {name: list(_points(name, Results(found))) for name in options.curves}
    print(f"{machine_line()}; {command_line()}")
    for name, points in printed.items():
        print(f"\n### {CURVES[name].title}\n\n{markdown(CURVES[name], points)}")
        draw(CURVES[name], points, (options.figures or options.out) / f"{name}.svg")
    write_text(
        options.out / "curves.json", json.dumps({k: [_plain(p) for p in v] for k, v in printed.items()}, indent=1)
    )
    return failed


def planned_jobs(
    names: Sequence[str], size: BenchSize, *, seeds: int, points: Sequence[float] | None = None
) -> list[Job]:
    """Every run of the wanted curves, seed by seed, so that a stopped benchmark has whole curves."""
    jobs = []
    for seed in range(seeds):
        for name in names:
            for row in CURVES[name].rows:
                for x in CURVES[name].points:
                    if points is None or x in points:
                        jobs.append(_at(name, row, x, job_of("synthetic", row, seed, size, ())))
    return jobs


def _at(name: str, row: str, x: float, job: Job) -> Job:
    added = tuple(line.format(x=f"{x:g}") for line in CURVES[name].settings)
    return replace(job, row=_row_name(name, row, x), settings=(*job.settings, *added), refinements=("none",))


def _row_name(name: str, row: str, x: float) -> str:
    return f"{row}-{name}-{x:g}"


def _points(name: str, results: Results) -> Iterator[Point]:
    for row in CURVES[name].rows:
        for x in CURVES[name].points:
            counts = results.counts("synthetic", _row_name(name, row, x), GATE)
            if counts is not None:
                yield Point(row, x, len(counts.seeds), counts.estimates()["miou_a"])


def markdown(curve: Curve, points: Sequence[Point]) -> str:
    """A line per point."""
    lines = [f"| method | {curve.axis} | seeds | mIoU, {GATE} gate [95 % interval] |", "| --- | --- | --- | --- |"]
    for point in points:
        low, high = point.miou.low, point.miou.high
        interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
        lines.append(f"| {point.row} | {point.x:g} | {point.seeds} | {point.miou.mean:.3f}{interval} |")
    return "\n".join(lines)


def draw(curve: Curve, points: Sequence[Point], path: Path) -> None:
    """Writes the figure as SVG, the same bytes for the same numbers."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "wsi-lpd", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for row in curve.rows:
            line = [point for point in points if point.row == row]
            if not line:
                continue
            xs = [point.x for point in line]
            (drawn,) = axes.plot(xs, [point.miou.mean for point in line], marker="o", label=row)
            ends = [(p.x, p.miou.low, p.miou.high) for p in line if p.miou.low is not None and p.miou.high is not None]
            if ends:
                where, lows, highs = zip(*ends, strict=True)
                axes.fill_between(where, lows, highs, alpha=0.15, color=drawn.get_color())
        if curve.is_logarithmic:
            least = min(x for x in curve.points if x > 0)
            axes.set_xscale("symlog", linthresh=least) if 0 in curve.points else axes.set_xscale("log")
            axes.set_xticks(curve.points, [f"{x:g}" for x in curve.points])
            axes.minorticks_off()
        axes.set_xlabel(curve.axis)
        axes.set_ylabel(f"mIoU, {GATE} gate")
        axes.set_title(curve.title, fontsize="medium")
        axes.grid(alpha=0.3)
        if len(curve.rows) > 1:
            axes.legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})


def _plain(point: Point) -> dict[str, float | str | None]:
    return {
        "row": point.row,
        "x": point.x,
        "seeds": point.seeds,
        "mean": point.miou.mean,
        "low": point.miou.low,
        "high": point.miou.high,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench-curves"))
    parser.add_argument("--curves", type=_known_curves, default=list(CURVES), help="only these, separated by commas")
    parser.add_argument("--points", type=_numbers, help="only the runs at these, separated by commas")
    parser.add_argument("--figures", type=Path, help="folder of the figures; without it OUT")
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu", help="see benchmarks/sizes.py")
    parser.add_argument("--steps", type=int, help="optimiser steps (not of the curve over epochs)")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; they share the cores")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if min(options.seeds, options.jobs) < 1:
        parser.error("--seeds and --jobs must be 1 or more")
    return options


def _known_curves(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in CURVES]:
        raise argparse.ArgumentTypeError(f"no curve {', '.join(unknown)}; there are {', '.join(CURVES)}")
    return names


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
