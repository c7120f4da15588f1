"""Seconds, and peak memory, of work in this process. Torch is imported only for a GPU: its memory would count."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of `work`; on a GPU, until everything it queued is done."""
    _synchronize(device)
    started = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - started


def peak_mb() -> float:
    """Peak resident memory of this process, in MiB.

    On Linux not that of `getrusage`: through `exec` a child keeps the peak of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def peak_device_mb(device: torch.device) -> float | None:
    """Peak memory of tensors on a GPU, in MiB; None without one."""
    if device.type != "cuda":
        return None
    import torch

    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
