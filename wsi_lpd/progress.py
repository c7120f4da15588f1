"""Progress reports of long work; the library itself prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]
"""Called with the number of units completed since the last call."""


class Progress:
    """Reports nothing; the command line passes a subclass that draws a bar."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Starts a stage of `total` units (such as patches) and yields the function that advances it."""
        yield lambda n: None


SILENT = Progress()
