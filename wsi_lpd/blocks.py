"""Splits the work on one slide into blocks of consecutive pieces (strips of a map, shards of a store) for workers."""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

BLOCKS_PER_SLOT = 2
"""Blocks per task that the cluster runs at a time. Blocks take different times, so with one each the fast workers would
wait for the slowest; every further block repeats some work."""


@dataclass(frozen=True)
class WorkLeft:
    """A slide that is begun: what others may do of it before it is finished.

    Attributes:
        missing: Numbers of the missing pieces, ascending.
        costs: Relative cost of each.
        least: Fewest pieces per block, which keeps the overhead of a block small.
        resumed: Whether an earlier run left some pieces.
        was_finished: Whether there is nothing to do at all.
        began_s: Start of the work, seconds since the epoch.
    """

    missing: Sequence[int] = ()
    costs: Sequence[int] = ()
    least: int = 1
    resumed: bool = False
    was_finished: bool = False
    began_s: float = field(default_factory=time.time)

    def blocks(self, n_wanted: int) -> list[range]:
        """The missing pieces in about `n_wanted` blocks; see `split_blocks`."""
        return split_blocks(self.missing, self.costs, n_wanted, least=self.least)

    def waited_s(self) -> float:
        """Seconds since the start, by this machine's clock."""
        return max(time.time() - self.began_s, 0.0)


def blocks_per_slide(n_slides: int, n_slots: int) -> int:
    """Number of blocks per slide: one as soon as there are as many slides as tasks that run at a time."""
    return -(-BLOCKS_PER_SLOT * n_slots // n_slides) if 0 < n_slides < n_slots else 1


def split_blocks(pieces: Sequence[int], costs: Sequence[int], n_wanted: int, *, least: int) -> list[range]:
    """Splits pieces into blocks of about equal cost.

    Args:
        pieces: Numbers of the pieces, ascending; gaps are allowed.
        costs: Cost of each piece.
        n_wanted: Most blocks, at least 1.
        least: Fewest pieces per block, at least 1; if there are fewer in total, they form one block.

    Returns:
        The range of each block, from its first piece to its last; ascending, disjoint, and covering every piece.
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


def consecutive_ranges(pieces: Sequence[int]) -> list[range]:
    """The ranges of consecutive numbers in ascending `pieces`."""
    borders = [i for i in range(1, len(pieces)) if pieces[i] != pieces[i - 1] + 1]
    return [range(pieces[a], pieces[b - 1] + 1) for a, b in pairwise([0, *borders, len(pieces)]) if a < b]


@contextmanager
def muted_warnings() -> Iterator[None]:
    """Mutes the library's warnings: all tasks on a slide find the same ones, so only the finishing task shows them."""
    logger = logging.getLogger("wsi_lpd")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
