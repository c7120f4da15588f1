"""The figures of docs/methods.md: how many epochs, how many prototypes, how much diversity.

    python -m benchmarks.methods.curves --out bench-curves [--curves epochs,prototypes] [--figures docs/figures]

Each point is the mean over seeds on the synthetic cohort, with the 95 % interval over slides and seeds. Every run
leaves one file in OUT/results and is not repeated: a benchmark that was stopped resumes. Figures go to `--figures` as
SVG, numbers to stdout and OUT/curves.json. Needs matplotlib (the extra `dev` has it).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.data import SIZES, BenchSize, synthetic_cohort
from benchmarks.measuring import machine_line, names_among, parser_of
from benchmarks.methods.command import command_line
from benchmarks.methods.figure import GATE, Curve, Point, draw, markdown
from benchmarks.methods.job import Files, Job
from benchmarks.methods.plan import check, chosen_size, job_of
from benchmarks.methods.results import Results
from benchmarks.methods.runner import run_all, run_benchmark
from wsi_lpd.files import write_text

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


def main() -> None:
    """Runs what is missing, prints the numbers and draws the figures."""
    run_benchmark(_curves, _options())


def _curves(options: argparse.Namespace) -> list[Path]:
    """Returns the logs of the runs that failed."""
    size, files = chosen_size(options), Files(options.out)
    jobs = planned_jobs(options.curves, size, seeds=options.seeds, points=options.points)
    check(jobs, files)
    missing = files.missing(jobs)
    print(f"{machine_line()}\n{len(missing)} runs to do, {options.jobs} at a time", file=sys.stderr)
    cohort = synthetic_cohort(options.out / "cohorts" / "synthetic", size)
    print(cohort.describe(), file=sys.stderr)
    failed = run_all(missing, {"synthetic": cohort}, files, options)
    results = Results(files.results(jobs))
    curves = {name: list(_points(name, results)) for name in options.curves}
    print(f"{machine_line()}; {command_line('methods.curves')}")
    for name, points in curves.items():
        print(f"\n### {CURVES[name].title}\n\n{markdown(CURVES[name], points)}")
        draw(CURVES[name], points, (options.figures or options.out) / f"{name}.svg")
    plain = {name: [_plain(point) for point in points] for name, points in curves.items()}
    write_text(options.out / "curves.json", json.dumps(plain, indent=1))
    return failed


def planned_jobs(
    names: Sequence[str], size: BenchSize, *, seeds: int, points: Sequence[float] | None = None
) -> list[Job]:
    """Every run of the wanted curves, seed by seed, so that a benchmark that was stopped has whole curves."""
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
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-curves"), help="folder of all files")
    parser.add_argument("--curves", type=names_among(CURVES, "curve"), default=list(CURVES), help="separated by commas")
    parser.add_argument("--points", type=_numbers, help="only the runs at these, separated by commas")
    parser.add_argument("--figures", type=Path, help="folder of the figures, OUT unless it is given")
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu", help="see benchmarks/data/sizes.py")
    parser.add_argument("--steps", type=int, help="optimiser steps (not of the curve over epochs)")
    parser.add_argument("--seeds", type=int, default=2, help="of each point")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; they share the cores")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    options = parser.parse_args()
    if min(options.seeds, options.jobs) < 1:
        parser.error("--seeds and --jobs must be 1 or more")
    return options


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
