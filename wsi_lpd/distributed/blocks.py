"""A few large slides on many workers: separate tasks prepare each slide, process its blocks, and finish it."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Generic, TypeVar

from distributed import Client

from wsi_lpd.blocks import WorkLeft, blocks_per_slide
from wsi_lpd.distributed.cluster import ClusterChoice, n_tasks_at_once, workers_are_alike
from wsi_lpd.distributed.tasks import Outcome, Subtasks, outcomes
from wsi_lpd.errors import BusyError
from wsi_lpd.lock import kept_locked

Item = TypeVar("Item")
Result = TypeVar("Result")


class BlockWork(ABC, Generic[Item, Result]):
    """Work on an item, as a whole or in blocks; can be pickled."""

    @abstractmethod
    def output(self, item: Item) -> Path:
        """On the calling machine: the output path of the item."""

    @abstractmethod
    def is_there(self, item: Item) -> bool:
        """On the calling machine: whether the output exists and is kept."""

    @abstractmethod
    def kind(self) -> str:
        """In a worker: its environment; workers of equal kind write the same bytes for an item."""

    @abstractmethod
    def whole(self, item: Item) -> Result:
        """In a worker: the whole item, including the lock."""

    @abstractmethod
    def begin(self, item: Item) -> WorkLeft:
        """In a worker: prepares the item for blocks."""

    @abstractmethod
    def block(self, item: Item, block: range) -> None:
        """In a worker: one block. Must be safe while another worker, even an abandoned one, does the same block."""

    @abstractmethod
    def finish(self, item: Item, work_left: WorkLeft) -> Result:
        """In a worker: missing blocks and everything after them. Must be safe to repeat."""


def outcomes_in_blocks(
    client: Client, choice: ClusterChoice, work: BlockWork[Item, Result], items: Sequence[Item]
) -> Iterator[Outcome[Item, Result]]:
    """Does `work` for every item, in blocks if the cluster runs more tasks at a time than there are items.

    In that case this process holds the lock of each output until its item has ended. Items are split only if all
    workers are of the same kind.

    Args:
        client: Client of the cluster.
        choice: How the cluster was chosen.
        work: The work.
        items: Must be picklable.
    """
    is_there = {item: work.is_there(item) for item in items}
    others = [item for item in items if not is_there[item]]
    n_blocks = blocks_per_slide(len(others), n_tasks_at_once(client, choice))
    if n_blocks == 1 or not workers_are_alike(client, work.kind):
        yield from outcomes(client, work.whole, items)
        return
    yield from outcomes(client, work.whole, [item for item in items if is_there[item]])
    with ExitStack() as all_locks:
        locks: dict[Item, ExitStack] = {}
        for item in others:
            lock = all_locks.enter_context(ExitStack())
            try:
                lock.enter_context(kept_locked(work.output(item)))
                locks[item] = lock
            except (BusyError, OSError) as err:
                yield Outcome(item, error=str(err))
        for outcome in outcomes(client, functools.partial(_prepared, work, n_blocks), list(locks)):
            locks[outcome.item].close()
            yield outcome


def _prepared(work: BlockWork[Item, Result], n_blocks: int, item: Item) -> Result | Subtasks[Result]:
    """In a worker: prepares an item and returns its subtasks, or finishes it if it makes only one block."""
    work_left = work.begin(item)
    blocks = work_left.blocks(n_blocks)
    if len(blocks) < 2:
        return work.finish(item, work_left)
    return Subtasks(
        [functools.partial(work.block, item, block) for block in blocks],
        functools.partial(work.finish, item, work_left),
    )
