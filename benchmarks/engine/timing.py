"""Runs commands as processes of their own and measures them; several in turn, so that all meet the same machine."""

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
from typing import Any

Command = list[str | Path]
LAUNCHER = Path(__file__).with_name("launcher.py")


class RunFailedError(Exception):
    """A command ended with another status than 0."""


@dataclass(frozen=True)
class Measured:
    """One run of one command.

    Attributes:
        wall_s: From start to end.
        cpu_s: Of the process and of all its children that it has waited for.
        peak_mb: Highest resident memory of one process (the largest, where it has children).
        told: What the command says of itself: the JSON object in its last line of output, or nothing.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    printed: Mapping[str, Any]

    def number(self, name: str) -> float:
        """`wall_s`, `cpu_s`, `peak_mb`, or a number that the command told."""
        own = {"wall_s": self.wall_s, "cpu_s": self.cpu_s, "peak_mb": self.peak_mb}
        return float(own[name] if name in own else self.printed[name])


def run(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> Measured:
    """Runs a command to its end.

    Raises:
        RunFailedError: If it fails; the message holds the end of what it said.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "told.json"
        done = subprocess.run(
            [sys.executable, "-S", str(LAUNCHER), str(printed), *words],
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            check=False,
        )
        if done.returncode:
            raise RunFailedError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
        used = json.loads(printed.read_text(encoding="utf-8"))
    return Measured(**used, printed=_last_object(done.stdout))


def in_turn(contestants: Mapping[str, Callable[[], Measured]], repeats: int) -> dict[str, list[Measured]]:
    """Every contestant once, then every one again: a busy minute of the machine hits all of them.

    One that fails is told on stderr and left out.
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


def median(runs: Sequence[Measured], name: str) -> float:
    """Median of a number over runs."""
    return statistics.median(run.number(name) for run in runs)


def median_ratio(runs: Sequence[Measured], others: Sequence[Measured], name: str, other: str | None = None) -> float:
    """Median over the rounds of one number divided by a number (`other`, or the same) of another contestant."""
    pairs = zip(runs, others, strict=False)
    return statistics.median(one.number(name) / two.number(other or name) for one, two in pairs)


def _last_object(output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
