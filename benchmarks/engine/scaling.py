"""A model of many slides on 1 to 256 workers, from stage times that are measured here.

Measured: one slide segmented by one thread (start of the process, tissue, network, overlay), and how long the scheduler
and a worker need for a task that does nothing. Assumed: slides of different sizes (lognormal, as spread as in clinical
archives), costs in proportion to their tissue, identical workers, and storage that is never waited for; the last column
says how many bytes per second it must deliver.
"""

from __future__ import annotations

import heapq
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from distributed import Client, LocalCluster

from benchmarks.engine.models import random_run
from benchmarks.engine.place import SMALL_SIZE, Place
from benchmarks.engine.segment_command import segment_command
from benchmarks.engine.workers import ONE_THREAD
from benchmarks.measuring import run, table

ENCODER = "pvt_v2_b0"
N_SLIDES = 1000
SIZE_SPREAD = 0.5
"""Standard deviation of the logarithm of a slide's tissue area."""
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
N_EMPTY_TASKS = 200


def scaling_tables(place: Place) -> list[str]:
    """One table."""
    slide = place.slide(size=SMALL_SIZE)
    start_s, slide_s = _measured(slide, random_run(place.out / "models" / ENCODER, ENCODER, slide), place.scratch)
    task_s = _task_seconds()
    rng = random.Random(0)
    costs = [slide_s * rng.lognormvariate(-(SIZE_SPREAD**2) / 2, SIZE_SPREAD) for _ in range(N_SLIDES)]
    alone = start_s + sum(costs) + N_SLIDES * task_s
    rows: list[Sequence[object]] = []
    for n in WORKERS:
        ends = _ends(costs, n, start_s, task_s)
        wall = max(ends)
        rate = N_SLIDES * slide.stat().st_size / wall / 1e6
        core_s = n * wall / N_SLIDES
        rows.append((n, f"{wall / 3600:.2f}", f"{core_s:.1f}", f"{alone / (n * wall):.2f}", f"{rate:.1f}"))
    columns = ("workers", "hours", "core seconds per slide", "efficiency", "read from storage, MB/s")
    measured = (
        f"Measured: start of a worker {start_s:.1f} s, a slide of {SMALL_SIZE} px with {ENCODER} {slide_s:.1f} s on "
        f"one thread, an empty task {task_s * 1e3:.1f} ms. {N_SLIDES} slides, in random order; simulated."
    )
    return [f"{measured}\n\n{table(columns, rows)}"]


def _ends(costs: Sequence[float], n_workers: int, start_s: float, task_s: float) -> list[float]:
    """When each worker finishes its last slide; the next slide goes to the worker that is free first.

    The scheduler hands out one task at a time, so no two slides begin within `task_s`.
    """
    free = [start_s] * n_workers
    scheduler = start_s
    for cost in costs:
        begins = max(heapq.heappop(free), scheduler)
        scheduler = begins + task_s
        heapq.heappush(free, begins + task_s + cost)
    return free


def _measured(slide: Path, model: Path, folder: Path) -> tuple[float, float]:
    """Seconds to start a process that segments, and seconds for the slide."""
    command = segment_command(slide, model, folder / "scaling.geojson", "--overwrite")
    found = run(command, environment=ONE_THREAD)
    (summary,) = found.summary["slides"]
    seconds = sum(summary["seconds"].values())
    return found.wall_s - seconds, seconds


def _task_seconds() -> float:
    """Median seconds from the submission of an empty task to its result."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        seconds = []
        for i in range(N_EMPTY_TASKS):
            started = time.perf_counter()
            client.submit(int, i, pure=False).result()
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
