"""`kill -9` at random moments: what the next run leaves must be, byte for byte, what an undisturbed one does."""

from __future__ import annotations

import hashlib
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
from timing import Command, run

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
        ("segment (overlay and mask)", *_killed(segment, place)),
        ("tile (store, preview, patches.csv)", *_killed([*tile, "{}"], place)),
    ]
    columns = ("", "undisturbed, s", "killed after, s", "of these in the middle", "byte-equal afterwards")
    return [table(columns, rows)]


def _killed(command: Sequence[str | Path], place: Place) -> tuple[object, ...]:
    """Seconds of an undisturbed run, when others were killed, how many had begun to write, how many came out equal."""
    rng = random.Random(7)
    plain = place.scratch / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    seconds = run(_into(command, plain)).wall_s
    expected = folder_digest(plain)
    moments, n_begun, n_equal = [], 0, 0
    for _ in range(N_KILLS):
        out = place.scratch / "killed"
        shutil.rmtree(out, ignore_errors=True)
        moments.append(rng.uniform(0.15, 0.98) * seconds)
        _kill_after(_into(command, out), moments[-1])
        n_begun += out.is_dir() and any(out.iterdir())
        run(_into(command, out))
        n_equal += folder_digest(out) == expected
    when = ", ".join(f"{moment:.1f}" for moment in moments)
    return f"{seconds:.1f}", when, n_begun, f"{n_equal} of {N_KILLS}"


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
