"""The tables behind docs/methods.md: every method, and the ablation, under equal conditions.

    python -m benchmarks.methods.compare --out bench-methods [--data FOLDER/wsss4luad/3.testing] [--table ablation]

Every run (cohort, row, seed) is a process of its own and leaves one file in OUT/results. A finished run is not
repeated, so a benchmark that was stopped resumes. Tables go to stdout, OUT/table.md and OUT/table.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import SIZES, BenchSize, Cohort, synthetic_cohort, wsss4luad_cohort
from benchmarks.measuring import machine, machine_line, names_among, parser_of, usable_cores
from benchmarks.methods.ablation import ablation_tables
from benchmarks.methods.command import command_line
from benchmarks.methods.duration import estimated_s
from benchmarks.methods.job import Files, Job
from benchmarks.methods.plan import check, chosen_size, planned_jobs
from benchmarks.methods.results import Results, Table
from benchmarks.methods.rows import ROWS
from benchmarks.methods.runner import run_all, run_benchmark
from benchmarks.methods.tables import methods_tables
from wsi_lpd.files import write_text


def main() -> None:
    """Prepares, runs what is missing, and prints the tables."""
    run_benchmark(_benchmark, _options())


def _benchmark(options: argparse.Namespace) -> list[Path]:
    """Returns the logs of the runs that failed."""
    size, files = chosen_size(options), Files(options.out)
    names = ["synthetic", *(["wsss4luad"] if options.data and options.table != "ablation" else [])]
    jobs = planned_jobs(size, names, options)
    check(jobs, files)
    print(machine_line(), file=sys.stderr)
    if not options.data and options.table != "ablation":
        print("WSSS4LUAD is left out: --data FOLDER/wsss4luad/3.testing adds it", file=sys.stderr)
    missing = files.missing(jobs)
    _print_estimate(missing, size, options.jobs)
    cohorts = _cohorts(options, size, names)
    for cohort in cohorts.values():
        print(cohort.describe(), file=sys.stderr)
    failed = run_all(missing, cohorts, files, options)
    _print_tables(_tables(Results(files.results(jobs)), names, options.table), options.out)
    return failed


def _print_tables(tables: Sequence[Table], out: Path) -> None:
    text = "\n".join([f"{machine_line()}; {command_line('methods.compare')}", *(f"\n{table}" for table in tables)])
    write_text(out / "table.md", text + "\n")
    document = {
        "machine": machine(),
        "command": command_line("methods.compare"),
        "tables": [table.to_json() for table in tables],
    }
    write_text(out / "table.json", json.dumps(document, indent=1))
    print(text)


def _print_estimate(missing: Sequence[Job], size: BenchSize, jobs: int) -> None:
    at_once = min(jobs, usable_cores())
    seconds = sum(estimated_s(job, size) for job in missing) / at_once
    print(
        f"{len(missing)} runs to do, {jobs} at a time on {usable_cores()} cores: about {seconds / 60:.0f} minutes "
        "without a GPU, if nothing else runs",
        file=sys.stderr,
    )


def _cohorts(options: argparse.Namespace, size: BenchSize, names: Sequence[str]) -> dict[str, Cohort]:
    folder = options.out / "cohorts"
    cohorts = {"synthetic": synthetic_cohort(folder / "synthetic", size)}
    if "wsss4luad" in names:
        cohorts["wsss4luad"] = wsss4luad_cohort(folder / "wsss4luad", options.data)
    return cohorts


def _tables(results: Results, names: Sequence[str], wanted: str) -> list[Table]:
    tables: list[Table] = []
    if wanted in ("methods", "all"):
        tables += [table for name in names for table in methods_tables(results, name)]
    if wanted in ("ablation", "all"):
        tables += ablation_tables(results)
    return tables


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-methods"), help="folder of all files")
    parser.add_argument("--data", type=Path, help="test set of WSSS4LUAD: a folder with img/ and mask/")
    parser.add_argument("--table", choices=("methods", "ablation", "all"), default="all", help="which to print")
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu", help="see benchmarks/data/sizes.py")
    parser.add_argument("--rows", type=names_among(ROWS, "row"), help="only these, separated by commas")
    parser.add_argument("--steps", type=int, help="optimiser steps on every cohort")
    parser.add_argument("--seeds", type=int, default=3, help="of the methods table")
    parser.add_argument("--second-stage-seeds", type=int, default=3, help="how many of them get a second stage too")
    parser.add_argument("--ablation-seeds", type=int, default=2, help="of the ablation")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; they share the cores")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--set", action="append", default=[], help="key=value for every run, before its row's own")
    options = parser.parse_args()
    if min(options.seeds, options.ablation_seeds, options.jobs) < 1 or options.second_stage_seeds < 0:
        parser.error("--seeds, --ablation-seeds and --jobs must be 1 or more, --second-stage-seeds 0 or more")
    return options


if __name__ == "__main__":
    main()
