"""How forward passes share a machine: how many windows each takes, and how many are made at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from wsi_lpd.threads import MAX_THREADS

_GPU_BATCH: Final = 32
_CPU_BATCH_PX: Final = 8 * 224**2
"""Pixels of a pass on processors. Of a small transformer (`pvt_v2_b0`) the largest tensor then is 26 MB; those of more
than 32 MB the C library fetches from the system anew each time, and a window costs a third more."""


def windows_per_pass(asked: int | None, device: torch.device, *, window_px: int) -> int:
    """As asked, or what suits the device."""
    if asked is not None:
        return asked
    return max(1, _CPU_BATCH_PX // window_px**2) if device.type == "cpu" else _GPU_BATCH


def passes_at_once(device: torch.device) -> int:
    """How many forward passes are made at the same time.

    One on a GPU. On processors one per thread that torch may use, up to `MAX_THREADS`: threads that share a pass wait
    for each other after every layer, and longest where something else, such as reading, has one of the cores.
    """
    return min(torch.get_num_threads(), MAX_THREADS) if device.type == "cpu" else 1


@contextmanager
def shared_threads(n_passes: int) -> Iterator[None]:
    """Threads that first use torch inside get an equal share of the threads that it may use, at least one each."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // n_passes))
    try:
        yield
    finally:
        torch.set_num_threads(before)
