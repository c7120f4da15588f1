"""A few large slides on many workers: each slide is begun, made in blocks, and finished by tasks of its own."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Generic, TypeVar

from distributed import Client

from wsi_lpd.blocks import WorkLeft, blocks_of_each
from wsi_lpd.distributed.cluster import ClusterChoice, are_alike, n_tasks_at_once
from wsi_lpd.distributed.tasks import Outcome, Shared, outcomes
from wsi_lpd.errors import BusyError
from wsi_lpd.lock import kept_locked

Item = TypeVar("Item")
Result = TypeVar("Result")


class BlockWork(ABC, Generic[Item, Result]):
    """Work on an item that can be done whole or in blocks; it may be pickled."""

    @abstractmethod
    def output(self, item: Item) -> Path:
        """Where the call is made: what is written for the item."""

    @abstractmethod
    def is_there(self, item: Item) -> bool:
        """Where the call is made: whether this is written already and stays."""

    @abstractmethod
    def kind(self) -> str:
        """In a worker: what decides, beside the item, whether it writes the same bytes as another worker."""

    @abstractmethod
    def whole(self, item: Item) -> Result:
        """In a worker: all of it, lock included."""

    @abstractmethod
    def begin(self, item: Item) -> WorkLeft:
        """In a worker: what comes before the blocks."""

    @abstractmethod
    def block(self, item: Item, block: range) -> None:
        """In a worker: one block. Harmless beside another worker that is at the same block, or was forgotten at it."""

    @abstractmethod
    def finish(self, item: Item, work_left: WorkLeft) -> Result:
        """In a worker: what comes after the blocks, and those that are missing. Harmless if done again."""


def outcomes_in_blocks(
    client: Client, choice: ClusterChoice, work: BlockWork[Item, Result], items: Sequence[Item]
) -> Iterator[Outcome[Item, Result]]:
    """Does `work` for every item; in blocks, where the cluster runs more tasks at a time than there are items to do.

    This process then holds the locks of all outputs from before an item is begun until it has ended. Workers of several
    kinds share no item.

    Args:
        client: Of the cluster.
        choice: How it was chosen.
        work: What is done.
        items: May be pickled.
    """
    is_there = {item: work.is_there(item) for item in items}
    others = [item for item in items if not is_there[item]]
    n_blocks = blocks_of_each(len(others), n_tasks_at_once(client, choice))
    if n_blocks == 1 or not are_alike(client, work.kind):
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
        for outcome in outcomes(client, functools.partial(_begun, work, n_blocks), list(locks)):
            locks[outcome.item].close()
            yield outcome


def _begun(work: BlockWork[Item, Result], n_blocks: int, item: Item) -> Result | Shared[Result]:
    """In a worker: begins an item, and says what follows; all of it, where that is no more than one block."""
    work_left = work.begin(item)
    blocks = work_left.blocks(n_blocks)
    if len(blocks) < 2:
        return work.finish(item, work_left)
    return Shared(
        [functools.partial(work.block, item, block) for block in blocks],
        functools.partial(work.finish, item, work_left),
    )
