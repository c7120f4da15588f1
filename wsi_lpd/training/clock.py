"""How fast training goes, and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Patches per second, and the share of time that was spent waiting for data, since the last row.

    On a GPU the host runs ahead of the device: what it waits for data is then an upper bound of what the device does.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._waited_s = 0.0
        self._apart_s = 0.0
        self._patches = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the block as waiting."""
        started = time.perf_counter()
        yield
        self._waited_s += time.perf_counter() - started

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leaves the block out of the count: it is no training."""
        started = time.perf_counter()
        yield
        self._apart_s += time.perf_counter() - started

    def count(self, patches: int) -> None:
        """Counts patches that were trained on."""
        self._patches += patches

    def row(self) -> dict[str, float]:
        """The figures so far, and a fresh start."""
        passed_s = max(time.perf_counter() - self._start - self._apart_s, 1e-9)
        row = {"patches_per_s": self._patches / passed_s, "data_wait": self._waited_s / passed_s}
        self.__init__()  # type: ignore[misc]
        return row
