"""`kill -9` at random moments: what the next run leaves must be, byte for byte, what an undisturbed one does."""

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

from markdown import table
from models import random_run
from place import TOOL, Place
from segment_command import segment_command
from timing import Command, RunFailedError, run

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
    columns = ("", "undisturbed, s", "killed after, s", "had begun to write", "byte-equal afterwards")
    return [table(columns, rows)]


def _by(engine: str) -> Command:
    return ["--set", f"segment.engine={engine}"]


def _killed(command: Sequence[str | Path], place: Place) -> tuple[object, ...]:
    """Seconds of an undisturbed run, when others were killed, how many had begun to write, how many came out equal.

    All moments lie between the first file of the undisturbed run and its end.
    """
    rng = random.Random(7)
    plain = place.scratch / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    began_s, ended_s = _watched(_into(command, plain), plain)
    expected = folder_digest(plain)
    moments, n_begun, n_equal = [], 0, 0
    for _ in range(N_KILLS):
        out = place.scratch / "killed"
        shutil.rmtree(out, ignore_errors=True)
        moments.append(rng.uniform(began_s, ended_s))
        _kill_after(_into(command, out), moments[-1])
        n_begun += _has_files(out)
        run(_into(command, out))
        n_equal += folder_digest(out) == expected
    when = ", ".join(f"{moment:.1f}" for moment in moments)
    return f"{ended_s:.1f}", when, n_begun, f"{n_equal} of {N_KILLS}"


def _watched(command: Sequence[str], out: Path) -> tuple[float, float]:
    """Seconds until the first file of a run, and until its end."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began_s = None
    while process.poll() is None:
        if began_s is None and _has_files(out):
            began_s = time.perf_counter() - started
        time.sleep(0.01)
    ended_s = time.perf_counter() - started
    if process.returncode or began_s is None:
        raise RunFailedError(f"{' '.join(command)}: exit status {process.returncode}, or nothing was written")
    return began_s, ended_s


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
