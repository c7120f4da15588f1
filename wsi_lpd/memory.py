"""How this process gets memory from the C library."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_ARENA_MAX: Final = -8
"""Of glibc's `mallopt`."""


def share_one_heap() -> None:
    """Lets all threads take memory from one heap: what one has freed another one uses. On Linux with glibc only.

    Else every thread that reads or packs keeps what it once needed: on a slide of 100,000 x 100,000 px, 80 MB in all.
    To be called before threads are started; worth it where they ask for memory seldom.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)
