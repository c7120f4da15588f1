"""The tables behind docs/methods.md: every method, and the ablation, under equal conditions.

    python benchmarks/methods.py --out bench-methods [--data FOLDER/wsss4luad/3.testing] [--table methods|ablation|all]

Every run (cohort, row, seed) is a process of its own and leaves one file in OUT/results; a finished one is not run
again, so a benchmark that was stopped goes on. Tables go to stdout, OUT/table.md and OUT/table.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablation_rows import ABLATION, METHODS, ROWS, refinements_of, settings_of
from cohorts import Cohort, patch_settings, synthetic_cohort, wsss4luad_cohort
from estimate import estimated_s
from machine import machine, machine_line, usable_cores
from one_run import Job
from sizes import SIZES, BenchSize
from tables import Results, Table, ablation_tables, methods_tables

from wsi_lpd.config import load_config
from wsi_lpd.errors import ConfigError, WsiLpdError
from wsi_lpd.files import write_text

ENDLESS_EPOCHS = 100_000
"""Steps decide how long is trained, equally for every method."""
MOST_STEPS_PER_LINE = 20
LEAST_LINES = 10


def main() -> None:
    """Prepares, runs what is missing, and prints the tables."""
    run_benchmark(_benchmark, _options())


def run_benchmark(benchmark: Callable[[argparse.Namespace], list[Path]], options: argparse.Namespace) -> None:
    """Runs a benchmark that returns the logs of its failed runs; what went wrong is told in one line, status 1."""
    signal.signal(signal.SIGTERM, _stopped)
    try:
        failed = benchmark(options)
    except WsiLpdError as err:
        sys.exit(f"error: {err}")
    if failed:
        sys.exit(f"error: {len(failed)} run(s) failed; see {', '.join(str(path) for path in failed)}")


@dataclass(frozen=True)
class Place:
    """Files of the benchmark."""

    out: Path

    def result(self, job: Job) -> Path:
        return self.out / "results" / f"{job.name}.json"

    def log(self, job: Job) -> Path:
        return self.out / "logs" / f"{job.name}.log"

    def run(self, job: Job) -> Path:
        return self.out / "runs" / job.name


def _benchmark(options: argparse.Namespace) -> list[Path]:
    """Returns the logs of the runs that failed."""
    size = sized(options)
    place = Place(options.out)
    names = ["synthetic", *(["wsss4luad"] if options.data and options.table != "ablation" else [])]
    jobs = planned_jobs(size, names, options)
    check(jobs, place)
    print(machine_line(), file=sys.stderr)
    if not options.data and options.table != "ablation":
        print("WSSS4LUAD is left out: --data FOLDER/wsss4luad/3.testing adds it", file=sys.stderr)
    missing = [job for job in jobs if not place.result(job).is_file()]
    _tell_estimate(missing, size, options.jobs)
    cohorts = _cohorts(options, size, names)
    for cohort in cohorts.values():
        print(cohort.describe(), file=sys.stderr)
    failed = run_all(missing, cohorts, place, options)
    tables = _tables(jobs, names, place, options)
    text = "\n".join([f"{machine_line()}; {command_line()}", *(f"\n{table}" for table in tables)])
    write_text(options.out / "table.md", text + "\n")
    printed = {"machine": machine(), "command": command_line(), "tables": [table.to_json() for table in tables]}
    write_text(options.out / "table.json", json.dumps(printed, indent=1))
    print(text)
    return failed


def planned_jobs(size: BenchSize, cohorts: Sequence[str], options: argparse.Namespace) -> list[Job]:
    """Every run of the wanted tables once, seed by seed, so that a stopped benchmark has whole seeds."""
    wanted: dict[str, Job] = {}
    for seed in range(max(options.seeds, options.ablation_seeds)):
        for cohort in cohorts:
            for row in _rows(cohort, seed, options):
                job = job_of(cohort, row, seed, size, options.set)
                wanted[job.name] = job
    return list(wanted.values())


def _rows(cohort: str, seed: int, options: argparse.Namespace) -> list[str]:
    names: dict[str, None] = {}
    if options.table in ("methods", "all"):
        names |= {
            name: None
            for name, row in METHODS.items()
            if seed < options.seeds and (row.masks_of is None or seed < options.second_stage_seeds)
        }
    if options.table in ("ablation", "all") and seed < options.ablation_seeds and cohort == "synthetic":
        names |= {name: None for name, row in ABLATION.items() if not row.reads and (options.rows or not row.extra)}
    if options.rows is None:
        return list(names)
    stages = {ROWS[name].masks_of for name in options.rows if name in names}
    return [name for name in names if name in options.rows or name in stages]


def job_of(cohort: str, row: str, seed: int, size: BenchSize, extra: Sequence[str]) -> Job:
    """The run of a row as the tables have it; `extra` comes before what makes the row."""
    synthetic = cohort == "synthetic"
    steps = size.steps if synthetic else size.wsss4luad_steps
    settings = (
        *patch_settings(cohort, size),
        *size.settings,
        f"train.max_steps={steps}",
        f"train.epochs={ENDLESS_EPOCHS}",
        f"train.log_every={max(1, min(MOST_STEPS_PER_LINE, steps // LEAST_LINES))}",
        "train.report=false",
        *extra,
        *settings_of(row, reference_dim=size.reference_dim),
        f"train.seed={seed}",
    )
    refinements = refinements_of(row) if synthetic else ("none",)
    return Job(cohort, row, seed, settings, refinements, ROWS[row].masks_of)


def check(jobs: Sequence[Job], place: Place) -> None:
    """Every configuration is valid and every finished result is of this one, before hours are spent."""
    for job in jobs:
        load_config(None, job.settings)
        path = place.result(job)
        if path.is_file() and read(path)["job"] != job.to_json():
            raise ConfigError(f"{path}: was made with other settings; choose another --out, or remove it")


def _tell_estimate(missing: Sequence[Job], size: BenchSize, jobs: int) -> None:
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


def run_all(
    missing: Sequence[Job], cohorts: Mapping[str, Cohort], place: Place, options: argparse.Namespace
) -> list[Path]:
    """Runs them, `options.jobs` at a time; returns the logs of those that failed."""
    work_left, failed = time.monotonic(), []
    started: list[subprocess.Popen[bytes]] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        futures: dict[str, Future[bool]] = {}
        for job in sorted(missing, key=lambda job: job.masks_of is not None):  # first stages first
            before = futures.get(job.name_of(job.masks_of)) if job.masks_of else None
            futures[job.name] = pool.submit(_run, job, cohorts[job.cohort], place, options, started, before)
        running = [(job, futures[job.name]) for job in missing]
        try:
            for done, (job, future) in enumerate(running, start=1):
                outcome = ""
                if not future.result():
                    failed.append(place.log(job))
                    outcome = f" FAILED: {_last_line(place.log(job))}"
                minutes = (time.monotonic() - work_left) / 60
                print(f"{done}/{len(missing)} {job.name} {minutes:.1f} min{outcome}", file=sys.stderr, flush=True)
        except BaseException:  # Ctrl-C, or what `_stopped` raises: no run stays behind that the next call would meet
            for _, future in running:
                future.cancel()
            for process in started:
                process.terminate()
            raise
    return failed


def _run(
    job: Job,
    cohort: Cohort,
    place: Place,
    options: argparse.Namespace,
    started: list[subprocess.Popen[bytes]],
    before: Future[bool] | None,
) -> bool:
    if before is not None:
        before.result()
    task = {
        "job": job.to_json(),
        "cohort_folder": str(cohort.folder),
        "run": str(place.run(job)),
        "result": str(place.result(job)),
        "device": options.device,
    }
    description = place.out / "logs" / f"{job.name}.json"
    write_text(description, json.dumps(task, indent=1))
    threads = str(max(1, usable_cores() // options.jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, str(Path(__file__).with_name("one_run.py")), str(description)]
    with place.log(job).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        started.append(process)
        return process.wait() == 0


def _stopped(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "nothing was said")


def _tables(jobs: Sequence[Job], names: Sequence[str], place: Place, options: argparse.Namespace) -> list[Table]:
    found = {(job.cohort, job.row, job.seed): read(path) for job in jobs if (path := place.result(job)).is_file()}
    results = Results(found)
    tables: list[Table] = []
    if options.table in ("methods", "all"):
        tables += [table for name in names for table in methods_tables(results, name)]
    if options.table in ("ablation", "all"):
        tables += ablation_tables(results)
    return tables


def sized(options: argparse.Namespace) -> BenchSize:
    size = SIZES[options.size]
    if options.steps is None:
        return size
    return replace(size, steps=options.steps, wsss4luad_steps=options.steps)


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def command_line() -> str:
    """The command without the folders of this machine."""
    words = [
        f"{word.split('=')[0]}=..." if word.startswith(("--data=", "--out=", "--figures=")) else word
        for word in sys.argv[1:]
    ]
    hidden = ["..." if i and words[i - 1] in ("--data", "--out", "--figures") else word for i, word in enumerate(words)]
    return " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *hidden])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench-methods"))
    parser.add_argument("--data", type=Path, help="test set of WSSS4LUAD: a folder with img/ and mask/")
    parser.add_argument("--table", choices=("methods", "ablation", "all"), default="all")
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu", help="see benchmarks/sizes.py")
    parser.add_argument("--rows", type=_known_rows, help="only these, separated by commas")
    parser.add_argument("--steps", type=int, help="optimiser steps on every cohort")
    parser.add_argument("--seeds", type=int, default=3, help="of the methods table")
    parser.add_argument("--second-stage-seeds", type=int, default=3, help="of them, those with second stages too")
    parser.add_argument("--ablation-seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; they share the cores")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="key=value for every run, before its row's own")
    options = parser.parse_args()
    if min(options.seeds, options.ablation_seeds, options.jobs) < 1 or options.second_stage_seeds < 0:
        parser.error("--seeds, --ablation-seeds and --jobs must be 1 or more, --second-stage-seeds 0 or more")
    return options


def _known_rows(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return names


if __name__ == "__main__":
    main()
