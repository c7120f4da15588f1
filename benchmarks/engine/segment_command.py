"""How the benchmark calls `wsi-lpd segment`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measuring import TOOL, Command

BATCH = 8
"""Windows per forward pass, for all contestants."""


def segment_command(slide: Path, model: Path, out: Path, *options: str | Path) -> Command:
    """One slide on the processors, with a summary as JSON; `options` come last."""
    command: Command = [TOOL, "segment", slide, "--model", model, "--out", out, "--json", "--device", "cpu"]
    return [*command, "--set", f"segment.batch_size={BATCH}", *options]
