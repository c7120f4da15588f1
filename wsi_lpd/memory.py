"""How this process gets memory from the C library."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Of glibc's `mallopt`."""

_LARGEST_KEPT: Final = 32 * 2**20
"""The most that glibc allows, and what it comes to by itself."""


def share_one_heap() -> None:
    """Lets all threads take memory from one heap: what one has freed another one uses.

    Else every thread that reads or packs keeps what it once needed: on a slide of 100,000 x 100,000 px, 80 MB in all.
    To be called before threads are started; worth it where they ask for memory seldom.
    """
    _mallopt(_M_ARENA_MAX, 1)


def keep_freed_blocks() -> None:
    """Keeps freed blocks of up to 32 MB for the next who asks for as much, such as the next layer of a network.

    Without the environment's word that is what glibc does. Dask, however, sets `MALLOC_TRIM_THRESHOLD_` in its workers;
    then every tensor of more than 128 KiB comes from the system anew, and forward passes take twice the time.
    """
    _mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    _mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_KEPT)


def give_back_freed_blocks() -> None:
    """Hands what is free back to the system, from wherever it lies between what is in use.

    Heaps of threads that fetch blocks of many sizes become porous: what a long stage has left in them, the next one
    would come on top of. Takes milliseconds, and as long again to fetch the memory anew.
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
