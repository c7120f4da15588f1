"""Memory settings of the C library (glibc only; elsewhere these functions do nothing)."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Parameters of glibc's `mallopt`."""

_LARGEST_KEPT: Final = 32 * 2**20
"""The upper limit of glibc's threshold, which it also reaches by itself."""


def share_one_heap() -> None:
    """Makes all threads share one heap, so that memory freed by one is reused by the others.

    Otherwise every reading or packing thread keeps what it once needed: 80 MB in total on a slide of 100,000 x 100,000
    px. Call it before threads are started; it pays where they allocate rarely.
    """
    _mallopt(_M_ARENA_MAX, 1)


def keep_freed_blocks() -> None:
    """Keeps freed blocks of up to 32 MB for the next allocation, such as that of the next layer of a network.

    This is glibc's default. Dask, however, sets `MALLOC_TRIM_THRESHOLD_` in its workers; then every tensor above
    128 KiB is requested from the system again, and forward passes take twice the time.
    """
    _mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    _mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_KEPT)


def give_back_freed_blocks() -> None:
    """Returns all free memory to the system, also from between blocks in use.

    Heaps of threads that allocate blocks of many sizes become fragmented, and the memory of the next stage would come
    on top of what a long stage left. Takes milliseconds, and as long again to allocate the memory anew.
    """
    trim = _of_the_c_library("malloc_trim")
    if trim is not None:
        trim(0)


def _mallopt(parameter: int, value: int) -> None:
    mallopt = _of_the_c_library("mallopt")
    if mallopt is not None:
        mallopt(parameter, value)


def _of_the_c_library(name: str) -> Any:
    """A function that only glibc has; None elsewhere, as with musl."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
