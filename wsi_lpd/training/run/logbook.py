"""What a run tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from wsi_lpd.training.run.run_folder import RunFolder

Log = Callable[[Mapping[str, Any]], None]
"""Takes one row: `step`, `epoch`, `part`, and numbers by their name."""


@contextmanager
def logbook(run: RunFolder, *, first: int, writes: bool) -> Iterator[Log]:
    """Opens `metrics.csv` and the TensorBoard events of a run, cut back to what was written before step `first`.

    Args:
        run: The run folder.
        first: The step that training begins with.
        writes: False in all processes but the first: rows are then dropped.
    """
    if not writes:
        yield lambda row: None
        return
    metrics = run.metrics(from_step=first)
    with SummaryWriter(str(run.path), purge_step=first) as board:

        def log(row: Mapping[str, Any]) -> None:
            metrics.add(row)
            for key, value in row.items():
                if isinstance(value, float):
                    board.add_scalar(f"{row['part']}/{key}", value, row["step"])

        yield log
