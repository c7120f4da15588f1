"""Runs jobs as processes of their own, several at a time, and leaves none behind when it is stopped."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.data import Cohort
from benchmarks.measuring import environment_with, module_command, usable_cores
from benchmarks.methods.job import Files, Job
from wsi_lpd.errors import WsiLpdError
from wsi_lpd.files import write_text


def run_benchmark(benchmark: Callable[[argparse.Namespace], list[Path]], options: argparse.Namespace) -> None:
    """Runs a benchmark that returns the logs of its failed runs; an error is one line on stderr and status 1."""
    signal.signal(signal.SIGTERM, _stopped)
    try:
        failed = benchmark(options)
    except WsiLpdError as err:
        sys.exit(f"error: {err}")
    if failed:
        sys.exit(f"error: {len(failed)} run(s) failed; see {', '.join(str(path) for path in failed)}")


def run_all(
    missing: Sequence[Job], cohorts: Mapping[str, Cohort], files: Files, options: argparse.Namespace
) -> list[Path]:
    """Runs the jobs, `options.jobs` at a time; returns the logs of those that failed."""
    runner = _Runner(cohorts, files, options.device, options.jobs)
    with ThreadPoolExecutor(options.jobs) as pool:
        futures: dict[str, Future[bool]] = {}
        for job in sorted(missing, key=lambda job: job.masks_of is not None):  # first stages first
            before = futures.get(job.name_of(job.masks_of)) if job.masks_of else None
            futures[job.name] = pool.submit(runner.run, job, before)
        running = [(job, futures[job.name]) for job in missing]
        try:
            return _failed(running, files)
        except BaseException:  # Ctrl-C, or what `_stopped` raises: no run stays behind that the next call would meet
            for _, future in running:
                future.cancel()
            runner.stop()
            raise


def _failed(running: Sequence[tuple[Job, Future[bool]]], files: Files) -> list[Path]:
    """Waits for the runs and prints a line for each; the logs of those that failed."""
    started, failed = time.monotonic(), []
    for done, (job, future) in enumerate(running, start=1):
        outcome = ""
        if not future.result():
            failed.append(files.log(job))
            outcome = f" FAILED: {_last_line(files.log(job))}"
        minutes = (time.monotonic() - started) / 60
        print(f"{done}/{len(running)} {job.name} {minutes:.1f} min{outcome}", file=sys.stderr, flush=True)
    return failed


@dataclass(frozen=True)
class _Runner:
    """Starts processes and remembers them."""

    cohorts: Mapping[str, Cohort]
    files: Files
    device: str
    n_at_once: int
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, job: Job, before: Future[bool] | None) -> bool:
        """Whether the job succeeds; it starts when `before` has ended."""
        if before is not None:
            before.result()
        task = {
            "job": job.to_json(),
            "cohort_folder": str(self.cohorts[job.cohort].folder),
            "run": str(self.files.run(job)),
            "result": str(self.files.result(job)),
            "device": self.device,
        }
        description = self.files.description(job)
        write_text(description, json.dumps(task, indent=1))
        threads = str(max(1, usable_cores() // self.n_at_once))
        environment = environment_with({"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads})
        command = module_command("methods.one_run", description)
        with self.files.log(job).open("w", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            self.started.append(process)
            return process.wait() == 0

    def stop(self) -> None:
        """Ends all processes."""
        for process in self.started:
            process.terminate()


def _stopped(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it printed nothing")
