"""`kill -9` at random moments: the next run must write, byte for byte, what an undisturbed one writes."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine.models import random_run
from benchmarks.engine.place import Place
from benchmarks.engine.segment_command import segment_command
from benchmarks.measuring import TOOL, Command, RunFailedError, run, table

ENGINES = ("torch", "openvino")
N_KILLS = 10
SIZE = "8192x6144"
TINY = "regnety_002"


def kills_tables(place: Place) -> list[str]:
    """One table."""
    slide = place.slide(size=SIZE)
    model = random_run(place.out / "models" / TINY, TINY, slide)
    segment = segment_command(slide, model, Path("{}/map.geojson"), "--mask", "{}/map.ome.tif")
    tile: Command = [TOOL, "tile", slide, "--mpp", "0.5", "--patch-size", "64", "--json", "--out"]
    rows = [
        *((f"segment (overlay and mask), {engine}", *_killed([*segment, *_by(engine)], place)) for engine in ENGINES),
        ("tile (store, preview, patches.csv)", *_killed([*tile, "{}"], place)),
    ]
    columns = ("", "undisturbed, s", "killed after, s", "had started to write", "byte-equal afterwards")
    return [table(columns, rows)]


def _by(engine: str) -> Command:
    return ["--set", f"segment.engine={engine}"]


def _killed(command: Sequence[str | Path], place: Place) -> tuple[object, ...]:
    """Seconds of an undisturbed run, when others were killed, how many had started to write, how many ended up equal.

    All moments are between the first file of the undisturbed run and its end.
    """
    rng = random.Random(7)
    plain = place.scratch / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    first_s, end_s = _watched(_into(command, plain), plain)
    expected = folder_digest(plain)
    moments, n_started, n_equal = [], 0, 0
    for _ in range(N_KILLS):
        out = place.scratch / "killed"
        shutil.rmtree(out, ignore_errors=True)
        moments.append(rng.uniform(first_s, end_s))
        _kill_after(_into(command, out), moments[-1])
        n_started += _has_files(out)
        run(_into(command, out))
        n_equal += folder_digest(out) == expected
    when = ", ".join(f"{moment:.1f}" for moment in moments)
    return f"{end_s:.1f}", when, n_started, f"{n_equal} of {N_KILLS}"


def _watched(command: Sequence[str], out: Path) -> tuple[float, float]:
    """Seconds until the first file of a run, and until its end."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first_s = None
    while process.poll() is None:
        if first_s is None and _has_files(out):
            first_s = time.perf_counter() - started
        time.sleep(0.01)
    end_s = time.perf_counter() - started
    if process.returncode or first_s is None:
        raise RunFailedError(f"{' '.join(command)}: exit status {process.returncode}, or nothing was written")
    return first_s, end_s


def _has_files(folder: Path) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _kill_after(command: Sequence[str], seconds: float) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _into(command: Sequence[str | Path], out: Path) -> list[str]:
    return [str(word).replace("{}", str(out)) for word in command]


def folder_digest(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, by its name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
