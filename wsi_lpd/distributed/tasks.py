"""One task per slide: the name of a slide travels, and what became of it; no pixel passes through the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from distributed import Client, Future, KilledWorker, as_completed

from wsi_lpd.errors import WsiLpdError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: a result, or an error that explains itself."""

    item: Item
    result: Result | None = None
    error: str | None = None


def outcomes(client: Client, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Item, Result]]:
    """Does `work` for every item somewhere, and yields what became of each as it is done.

    A worker that dies costs its task a retry on another one (Dask gives up on a task after it has seen several workers
    die). An error that we explain is not tried again. When the block that iterates ends early, what has not begun is
    cancelled.

    Args:
        client: Of the cluster.
        work: May be pickled; called in a worker with one item.
        items: May be pickled.

    Raises:
        Exception: Whatever `work` raises that is no error we explain: a bug.
    """
    # One task at a time in each thread of a worker, in the order given; equal names of two calls must not be mixed up.
    futures: dict[Future, Item] = {
        client.submit(_explained, work, item, pure=False, priority=-i): item for i, item in enumerate(items)
    }
    try:
        for future in as_completed(futures):
            item = futures[future]
            try:
                result, error = future.result()
            except KilledWorker as err:
                error = f"{item}: {_n_deaths(err)} workers died while they had it (out of memory?)"
                result = None
            yield Outcome(item, result, error)
            future.release()
    finally:
        client.cancel(list(futures))


def _explained(work: Callable[[Item], Result], item: Item) -> tuple[Result | None, str | None]:
    """In a worker: the result, or the message of an error that we explain."""
    try:
        return work(item), None
    except (WsiLpdError, OSError) as err:
        return None, str(err)


def _n_deaths(err: KilledWorker) -> int:
    return int(getattr(err, "allowed_failures", 0)) + 1
