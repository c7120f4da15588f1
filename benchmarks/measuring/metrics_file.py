"""Reads the `metrics.csv` of a training run."""

from __future__ import annotations

import csv
from pathlib import Path


def read_metrics(run: Path, part: str | None = None) -> list[dict[str, str]]:
    """Lines of the table, all or those of one part (`train` or `val`)."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        return [line for line in csv.DictReader(stream) if part in (None, line["part"])]
