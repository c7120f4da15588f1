"""What a few steps of training spend their time on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from wsi_lpd.files import replacing, write_text

logger = logging.getLogger(__name__)

TRACE: Final = "trace.json"
TABLE: Final = "profile.txt"

_SKIPPED = 2
"""Steps before it begins: the first allocate, choose kernels, and wait for the first batch."""
_ROWS = 30


@contextmanager
def profiled(folder: Path, steps: int, device: torch.device) -> Iterator[Callable[[], None]]:
    """Records `steps` steps (after three that are not) into `trace.json` and `profile.txt`; 0 records nothing.

    Args:
        folder: Where the two files go.
        steps: How many; a training that ends before records as many as there are.
        device: Where the network runs.

    Yields:
        What to call at the end of every step.
    """
    if steps == 0:
        yield lambda: None
        return
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(
        activities=activities,
        schedule=schedule(wait=0, skip_first=_SKIPPED, warmup=1, active=steps, repeat=1),
        on_trace_ready=lambda found: _write(found, folder, device),
    ) as running:
        yield running.step
    if not (folder / TRACE).is_file():
        logger.warning("train.profile: the training ended before step %d, nothing was recorded", _SKIPPED + 2)


def _write(found: Any, folder: Path, device: torch.device) -> None:
    with replacing(folder / TRACE) as temporary:
        found.export_chrome_trace(str(temporary))
    order = f"self_{'device' if device.type == 'cuda' else 'cpu'}_time_total"
    write_text(folder / TABLE, found.key_averages().table(sort_by=order, row_limit=_ROWS) + "\n")
