"""Tasks on slides: the name of a slide travels, and what became of it; no pixel passes through the scheduler."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

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


@dataclass(frozen=True)
class Shared(Generic[Result]):
    """What the work on an item returns where others can help: more tasks, to be called anywhere.

    Attributes:
        parts: In any order, at the same time. What they return is of no use.
        finish: Once they are all done; returns the result.
    """

    parts: Sequence[Callable[[], object]]
    finish: Callable[[], Result]


def outcomes(
    client: Client, work: Callable[[Item], Result | Shared[Result]], items: Sequence[Item]
) -> Iterator[Outcome[Item, Result]]:
    """Does `work` for every item somewhere, and yields what became of each as it is done.

    A worker that dies costs its tasks a retry on another one. Dask gives up on a task after it has seen several workers
    die, and blames all that the worker had; so each of these is tried once more at the end, alone. An error that we
    explain is not tried again, and ends its item: of the parts of an item, what has not begun is cancelled. So it is
    with everything when the block that iterates ends early.

    Args:
        client: Of the cluster.
        work: May be pickled; called in a worker with one item.
        items: May be pickled.

    Raises:
        Exception: Whatever `work` or a part raises that is no error we explain: a bug.
    """
    tasks: _Tasks[Item, Result] = _Tasks(client)
    try:
        for rank, item in enumerate(items):
            tasks.submit(_Task(_Going(item, rank), functools.partial(work, item)))
        while (ended := tasks.next_ended()) is not None:
            task, result, error = ended
            going = task.going
            if error is not None:
                tasks.cancel(going)
                yield Outcome(going.item, error=error)
            elif isinstance(result, Shared):
                going.follow(result)
            elif going.n_parts > 0:
                going.n_parts -= 1
            else:
                yield Outcome(going.item, result)
            for call in going.due():
                tasks.submit(_Task(going, call))
    finally:
        tasks.cancel()


@dataclass(eq=False)
class _Going(Generic[Item, Result]):
    """An item on its way.

    Attributes:
        item: The item.
        rank: Its place in the order given.
        n_parts: Parts that have not ended.
        parts: Those that have not been submitted.
        finish: What follows them, until it is submitted.
    """

    item: Item
    rank: int
    n_parts: int = 0
    parts: list[Callable[[], object]] = field(default_factory=list)
    finish: Callable[[], Result] | None = None

    def follow(self, shared: Shared[Result]) -> None:
        self.parts, self.n_parts, self.finish = list(shared.parts), len(shared.parts), shared.finish

    def due(self) -> list[Callable[[], object]]:
        """What is to be submitted now."""
        due, self.parts = self.parts, []
        if self.n_parts == 0 and self.finish is not None:
            due, self.finish = [self.finish], None
        return due


@dataclass(frozen=True, eq=False)
class _Task(Generic[Item, Result]):
    """One call for an item; `alone` where it has been tried before."""

    going: _Going[Item, Result]
    call: Callable[[], object]
    alone: bool = False


class _Tasks(Generic[Item, Result]):
    """The tasks of all items that have not ended."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ended = as_completed(loop=client.loop)
        self._running: dict[Future[Any], _Task[Item, Result]] = {}
        self._suspects: list[_Task[Item, Result]] = []

    def submit(self, task: _Task[Item, Result]) -> None:
        # In the order given; equal names of two calls must not be mixed up.
        future = self._client.submit(_explained, task.call, pure=False, priority=-task.going.rank)
        self._running[future] = task
        self._ended.add(future)

    def next_ended(self) -> tuple[_Task[Item, Result], Any, str | None] | None:
        """A task, and its result or the message of an error that we explain; None when there are no more."""
        while self._running or self._suspects:
            if not self._running:
                suspect = self._suspects.pop(0)
                self.submit(_Task(suspect.going, suspect.call, alone=True))
            future = next(self._ended)
            task = self._running.pop(future, None)
            if task is None:  # it was cancelled
                continue
            try:
                result, error = future.result()
            except KilledWorker as err:
                if not task.alone:
                    self._suspects.append(task)
                    continue
                n_died = int(err.allowed_failures) + 1
                return task, None, f"{task.going.item}: {n_died} workers died while they had it (out of memory?)"
            future.release()
            return task, result, error
        return None

    def cancel(self, going: _Going[Item, Result] | None = None) -> None:
        """Drops the tasks of an item, or of all."""
        futures = [future for future, task in self._running.items() if going in (None, task.going)]
        for future in futures:
            del self._running[future]
        self._suspects = [task for task in self._suspects if going not in (None, task.going)]
        self._client.cancel(futures)


def _explained(call: Callable[[], Result]) -> tuple[Result | None, str | None]:
    """In a worker: the result, or the message of an error that we explain."""
    try:
        return call(), None
    except (WsiLpdError, OSError) as err:
        return None, str(err)
