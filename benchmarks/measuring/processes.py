"""Runs commands as processes of their own and measures them; contestants take turns, so all meet the same machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring.statistics import median_ratio

Command = list[str | Path]
ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout that these benchmarks belong to."""
TOOL: Final = Path(sys.executable).with_name("wsi-lpd")
_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_MESSAGE_CHARACTERS: Final = 2000


class RunFailedError(Exception):
    """A command ended with another status than 0."""


@dataclass(frozen=True)
class Measured:
    """One run of one command.

    Attributes:
        wall_s: From start to end.
        cpu_s: Of the process and of all its children that it has waited for.
        peak_mb: Peak resident memory of one process (the largest, where it has children), in MiB.
        summary: The JSON object in the last line of the command's output; empty where there is none.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    summary: Mapping[str, Any]

    def number(self, name: str) -> float:
        """`wall_s`, `cpu_s`, `peak_mb`, or a number of the summary."""
        own = {"wall_s": self.wall_s, "cpu_s": self.cpu_s, "peak_mb": self.peak_mb}
        return float(own[name] if name in own else self.summary[name])


def module_command(name: str, *words: str | Path, python: str | Path = sys.executable) -> Command:
    """The command line of a module of `benchmarks`, say `peers.tile_lazyslide`, for `run` or `environment_with`."""
    return [python, "-m", f"benchmarks.{name}", *words]


def environment_with(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, in which `benchmarks` and the library beside it can be imported."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(extra or {})}


def run(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> Measured:
    """Runs a command to its end.

    Args:
        command: The program and its arguments.
        environment: Variables added to those of this process.

    Raises:
        RunFailedError: If it fails; the message ends with the last lines of its error output.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryDirectory() as folder:
        summary_file = Path(folder) / "summary.json"
        done = subprocess.run(
            [sys.executable, "-S", str(_LAUNCHER), str(summary_file), *words],
            capture_output=True,
            text=True,
            env=environment_with(environment),
            check=False,
        )
        if done.returncode:
            said = (done.stderr or done.stdout)[-_MESSAGE_CHARACTERS:]
            raise RunFailedError(f"{' '.join(words)}: exit status {done.returncode}\n{said}")
        used = json.loads(summary_file.read_text(encoding="utf-8"))
    return Measured(**used, summary=_last_object(done.stdout))


def in_turn(contestants: Mapping[str, Callable[[], Measured]], repeats: int) -> dict[str, list[Measured]]:
    """Runs every contestant once, then all of them again, `repeats` times: a busy minute hits them all.

    One that fails is reported on stderr and left out.
    """
    found: dict[str, list[Measured]] = {name: [] for name in contestants}
    failed: set[str] = set()
    for i in range(repeats):
        for name, work in contestants.items():
            if name in failed:
                continue
            try:
                found[name].append(work())
            except RunFailedError as err:
                failed.add(name)
                print(f"{name}: {err}", file=sys.stderr)
                continue
            print(f"round {i + 1} of {repeats}: {name} {found[name][-1].wall_s:.1f} s", file=sys.stderr, flush=True)
    return {name: runs for name, runs in found.items() if name not in failed and runs}


def numbers(runs: Sequence[Measured], name: str) -> list[float]:
    """One number of every run."""
    return [run.number(name) for run in runs]


def median(runs: Sequence[Measured], name: str) -> float:
    """Median of a number over runs."""
    return statistics.median(numbers(runs, name))


def ratio_of_runs(runs: Sequence[Measured], others: Sequence[Measured], name: str, other: str | None = None) -> float:
    """Median over the rounds of one number divided by a number (`other`, or the same) of another contestant."""
    return median_ratio(numbers(runs, name), numbers(others, other or name))


def _last_object(output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
