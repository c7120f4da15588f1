"""One slide as blocks of consecutive pieces (strips of a map, shards of a store) that several workers make."""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

BLOCKS_PER_SLOT = 2
"""Blocks for each task that a cluster runs at a time: they take different times, and a worker that has done its only
one would wait for the slowest. The more there are, the more is done twice."""


@dataclass(frozen=True)
class WorkLeft:
    """A slide that is begun: what others may do of it before it is finished.

    Attributes:
        missing: Numbers of the pieces that are not there, ascending.
        costs: What each of them costs beside the others.
        least: Fewest pieces in a block, so that what every block does anew stays small beside them.
        resumed: Whether an earlier run has left pieces.
        was_finished: Whether there is nothing to do at all.
        began_s: When it was begun, seconds since the epoch.
    """

    missing: Sequence[int] = ()
    costs: Sequence[int] = ()
    least: int = 1
    resumed: bool = False
    was_finished: bool = False
    began_s: float = field(default_factory=time.time)

    def blocks(self, n_wanted: int) -> list[range]:
        """The pieces that are missing in about as many blocks; see `cut`."""
        return cut(self.missing, self.costs, n_wanted, least=self.least)

    def waited_s(self) -> float:
        """Seconds since it was begun, by this machine's clock."""
        return max(time.time() - self.began_s, 0.0)


def blocks_of_each(n_slides: int, n_slots: int) -> int:
    """How many blocks a slide is cut into: one where there are as many slides as tasks that run at a time."""
    return -(-BLOCKS_PER_SLOT * n_slots // n_slides) if 0 < n_slides < n_slots else 1


def cut(pieces: Sequence[int], costs: Sequence[int], n_wanted: int, *, least: int) -> list[range]:
    """Cuts pieces into blocks of about the same cost.

    Args:
        pieces: Numbers of the pieces that are wanted, ascending; there may be gaps.
        costs: What each of them costs.
        n_wanted: Most blocks, at least 1.
        least: Fewest pieces that are wanted in a block, at least 1; where there are fewer in all, they are one block.

    Returns:
        Of each block, its first wanted piece to the one after its last; ascending, apart, with every wanted piece.
    """
    if not pieces:
        return []
    count = max(1, min(n_wanted, len(pieces) // least))
    sums = list(accumulate(costs))
    borders = [0]
    for i in range(1, count):
        fair = bisect_left(sums, sums[-1] * i, key=lambda total: total * count) + 1
        borders.append(min(max(fair, borders[-1] + least), len(pieces) - (count - i) * least))
    return [range(pieces[a], pieces[b - 1] + 1) for a, b in pairwise([*borders, len(pieces)])]


def runs(pieces: Sequence[int]) -> list[range]:
    """The unbroken rows in ascending numbers."""
    borders = [i for i in range(1, len(pieces)) if pieces[i] != pieces[i - 1] + 1]
    return [range(pieces[a], pieces[b - 1] + 1) for a, b in pairwise([0, *borders, len(pieces)]) if a < b]


@contextmanager
def muted_warnings() -> Iterator[None]:
    """Keeps back the library's warnings: each task on a slide finds the same, and the one that finishes it tells."""
    logger = logging.getLogger("wsi_lpd")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
