"""One task per slide: the name of a slide travels, and what became of it; no pixel passes through the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distributed import Client, KilledWorker, as_completed

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

    A worker that dies costs its tasks a retry on another one. Dask gives up on a task after it has seen several workers
    die, and blames all that the worker had; so each of these is tried once more at the end, alone. An error that we
    explain is not tried again. When the block that iterates ends early, what has not begun is cancelled.

    Args:
        client: Of the cluster.
        work: May be pickled; called in a worker with one item.
        items: May be pickled.

    Raises:
        Exception: Whatever `work` raises that is no error we explain: a bug.
    """
    # In the order given; equal names of two calls must not be mixed up.
    futures: dict[Any, Item] = {
        client.submit(_explained, work, item, pure=False, priority=-i): item for i, item in enumerate(items)
    }
    suspects: list[Item] = []
    try:
        for future in as_completed(futures):
            item = futures[future]
            try:
                yield Outcome(item, *future.result())
            except KilledWorker:
                suspects.append(item)
            future.release()
        for item in suspects:
            yield _alone(client, work, item)
    finally:
        client.cancel(list(futures))


def _alone(client: Client, work: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    try:
        return Outcome(item, *client.submit(_explained, work, item, pure=False).result())
    except KilledWorker as err:
        n_died = int(err.allowed_failures) + 1
        return Outcome(item, error=f"{item}: {n_died} workers died while they had it (out of memory?)")


def _explained(work: Callable[[Item], Result], item: Item) -> tuple[Result | None, str | None]:
    """In a worker: the result, or the message of an error that we explain."""
    try:
        return work(item), None
    except (WsiLpdError, OSError) as err:
        return None, str(err)
