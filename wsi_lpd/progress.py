"""How the library tells of long work without printing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]
"""Called with the number of units done since the last call."""


class Progress:
    """Says nothing; the command line passes a subclass that draws a bar."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Opens a stage of `total` units (such as patches) and yields the function that advances it."""
        yield lambda n: None


SILENT = Progress()
