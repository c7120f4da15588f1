"""One Dask worker against two, each with a core of its own, over four slides; and what passes through the scheduler."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from distributed import Client

from benchmarks.engine.counting_proxy import CountingProxy
from benchmarks.engine.kills import folder_digest
from benchmarks.engine.models import random_run
from benchmarks.engine.place import Place
from benchmarks.measuring import (
    TOOL,
    Command,
    Measured,
    RunFailedError,
    in_turn,
    median,
    module_command,
    ratio_of_runs,
    run,
    table,
)

N_SLIDES = 4
N_LIMIT_ROUNDS = 3
ENCODER = "pvt_v2_b0"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
TIMEOUT_S = 60.0
WORKER_OPTIONS = ("--memory-limit", "0", "--local-directory")


def workers_tables(place: Place) -> list[str]:
    """A table of both commands, and a line on a worker that was killed."""
    slides = [place.slide(seed) for seed in range(N_SLIDES)]
    model = random_run(place.out / "models" / ENCODER, ENCODER, slides[0])
    segment: Command = ["segment", *slides, "--model", model, "--device", "cpu", "--out"]
    tile = {mpp: ["tile", *slides, "--mpp", mpp, "--patch-size", "256", "--out"] for mpp in ("0.5", "0.25")}
    commands: dict[str, Command] = {"segment": segment, **{f"tile, {mpp} um/px": words for mpp, words in tile.items()}}
    rows: list[Sequence[object]] = []
    for name, command in commands.items():
        found = in_turn({str(n): partial(_on, n, command, place) for n in (1, 2)}, place.repeats)
        digests = [folder_digest(place.scratch / f"workers-{n}") for n in (1, 2)]
        rows.append(
            (
                name,
                f"{median(found['1'], 'wall_s'):.1f}",
                f"{median(found['2'], 'wall_s'):.1f}",
                f"{ratio_of_runs(found['1'], found['2'], 'wall_s'):.2f}",
                "yes" if digests[0] == digests[1] else "NO",
                f"{median(found['2'], 'scheduler_kb'):.0f}",
                f"{sum(slide.stat().st_size for slide in slides) / 1e6:.0f}",
            )
        )
        if name == "segment":
            segment_s = median(found["2"], "wall_s")
    killed = _on(2, segment, place, kill_after_s=0.4 * segment_s)
    shutil.rmtree(place.scratch / "workers-plain", ignore_errors=True)
    run([TOOL, *segment, place.scratch / "workers-plain"], environment=ONE_THREAD)
    survived = folder_digest(place.scratch / "workers-2") == folder_digest(place.scratch / "workers-plain")
    columns = (
        "four slides", "one worker, s", "two workers, s", "ratio (limit 1.7)", "byte-equal",
        "through the scheduler, kB", "slides, MB (compressed)",
    )  # fmt: skip
    killed_line = (
        f"`segment` with one of two workers killed in the middle: {killed.wall_s:.1f} s, result "
        f"{'equal to that of a run without Dask' if survived else 'DIFFERENT'}."
    )
    return [f"{table(columns, rows)}\n\n{killed_line} {_limit_line(model, slides[0])}"]


def _limit_line(model: Path, slide: Path) -> str:
    """The most a second worker can gain: forward passes in one process, then in two that share only the machine."""
    command: Command = module_command("contestants.forward", model, slide, "0", "8", "openvino")

    def seconds_together(n: int) -> float:
        with ThreadPoolExecutor(n) as pool:
            found = pool.map(lambda _: run(command, environment=ONE_THREAD), range(n))
            return max(one.number("loop_s") for one in found)

    gains = [2 * seconds_together(1) / seconds_together(2) for _ in range(N_LIMIT_ROUNDS)]
    return f"Forward passes alone: two processes that share nothing do {statistics.median(gains):.2f} times one's work."


def _on(n_workers: int, command: Sequence[str | Path], place: Place, *, kill_after_s: float | None = None) -> Measured:
    """Runs a command on a cluster of its own, whose scheduler is reached through a proxy that counts bytes."""
    out = place.scratch / f"workers-{n_workers}"
    shutil.rmtree(out, ignore_errors=True)
    with _cluster(n_workers, place.scratch) as (proxy, pids):
        if kill_after_s is not None:
            threading.Timer(kill_after_s, os.kill, (pids[0], signal.SIGKILL)).start()
        found = run([TOOL, *command, out, "--scheduler", proxy.address], environment=ONE_THREAD)
        summary = {"scheduler_kb": proxy.n_bytes / 1e3}
    return Measured(found.wall_s, found.cpu_s, found.peak_mb, summary)


@contextmanager
def _cluster(n_workers: int, folder: Path) -> Iterator[tuple[CountingProxy, list[int]]]:
    """A scheduler, a proxy before it, and workers with a core each; the process numbers of these."""
    scheduler_file = folder / "scheduler.json"
    scheduler_file.unlink(missing_ok=True)
    dask = TOOL.with_name("dask")
    with ExitStack() as stack:
        _start(stack, [dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", scheduler_file])
        proxy = stack.enter_context(CountingProxy(_address(scheduler_file)))
        cores = sorted(os.sched_getaffinity(0))
        for i in range(n_workers):
            words = [dask, "worker", proxy.address, "--host", "127.0.0.1", "--nthreads", "1", *WORKER_OPTIONS, folder]
            os.sched_setaffinity(_start(stack, words), {cores[i % len(cores)]})
        with Client(proxy.address, timeout=TIMEOUT_S) as client:
            client.wait_for_workers(n_workers, timeout=TIMEOUT_S)
            pids = list(client.run(os.getpid).values())
        proxy.n_bytes = 0
        yield proxy, pids


def _start(stack: ExitStack, command: Sequence[object]) -> int:
    """The number of a process that ends with the stack."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ONE_THREAD},
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process.pid


def _address(scheduler_file: Path) -> str:
    """Of the scheduler that writes the file."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        with suppress(OSError, ValueError):
            return str(json.loads(scheduler_file.read_text(encoding="utf-8"))["address"])
        time.sleep(0.1)
    raise RunFailedError(f"{scheduler_file}: found no such file; the scheduler did not start")
