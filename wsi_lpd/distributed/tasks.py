"""Tasks on slides: only the names of slides and small results pass through the scheduler, no pixels."""

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
    """The outcome of one item: a result, or the message of an anticipated error."""

    item: Item
    result: Result | None = None
    error: str | None = None


@dataclass(frozen=True)
class Subtasks(Generic[Result]):
    """Returned by the work on an item that is to be shared: subtasks for any workers.

    Attributes:
        parts: Called in any order and concurrently; their results are ignored.
        finish: Called after all parts; returns the result.
    """

    parts: Sequence[Callable[[], object]]
    finish: Callable[[], Result]


def outcomes(
    client: Client, work: Callable[[Item], Result | Subtasks[Result]], items: Sequence[Item]
) -> Iterator[Outcome[Item, Result]]:
    """Runs `work` on the cluster for every item and yields the outcomes in order of completion.

    The tasks of a worker that dies are retried on another one. Dask gives up on a task after several workers have died
    with it, and counts this against every task those workers held; so each such task is run once more at the end, by
    itself. An anticipated error is not retried and ends its item: the pending parts of that item are cancelled.
    Everything pending is cancelled if the iteration ends early.

    Args:
        client: Client of the cluster.
        work: Must be picklable; called in a worker with one item.
        items: Must be picklable.

    Raises:
        Exception: Any other exception of `work` or a part; a bug.
    """
    tasks: _Tasks[Item, Result] = _Tasks(client)
    try:
        for rank, item in enumerate(items):
            tasks.submit(_Task(_ItemState(item, rank), functools.partial(work, item)))
        while (ended := tasks.next_ended()) is not None:
            task, result, error = ended
            state = task.state
            if error is not None:
                tasks.cancel(state)
                yield Outcome(state.item, error=error)
            elif isinstance(result, Subtasks):
                state.follow(result)
            elif state.n_parts > 0:
                state.n_parts -= 1
            else:
                yield Outcome(state.item, result)
            for call in state.due():
                tasks.submit(_Task(state, call))
    finally:
        tasks.cancel()


@dataclass(eq=False)
class _ItemState(Generic[Item, Result]):
    """The state of an item in progress.

    Attributes:
        item: The item.
        rank: Its place in the given order.
        n_parts: Number of parts that have not ended.
        parts: Parts that have not been submitted.
        finish: The final call, until it is submitted.
    """

    item: Item
    rank: int
    n_parts: int = 0
    parts: list[Callable[[], object]] = field(default_factory=list)
    finish: Callable[[], Result] | None = None

    def follow(self, subtasks: Subtasks[Result]) -> None:
        self.parts, self.n_parts, self.finish = list(subtasks.parts), len(subtasks.parts), subtasks.finish

    def due(self) -> list[Callable[[], object]]:
        """The calls that can be submitted now."""
        due, self.parts = self.parts, []
        if self.n_parts == 0 and self.finish is not None:
            due, self.finish = [self.finish], None
        return due


@dataclass(frozen=True, eq=False)
class _Task(Generic[Item, Result]):
    """One call for an item; `alone` if this is its last attempt."""

    state: _ItemState[Item, Result]
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
        # In the given order; `pure=False` keeps equal calls apart.
        future = self._client.submit(_with_error_message, task.call, pure=False, priority=-task.state.rank)
        self._running[future] = task
        self._ended.add(future)

    def next_ended(self) -> tuple[_Task[Item, Result], Any, str | None] | None:
        """The next task that ended, with its result or error message; None if there are no more."""
        while self._running or self._suspects:
            if not self._running:
                suspect = self._suspects.pop(0)
                self.submit(_Task(suspect.state, suspect.call, alone=True))
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
                return task, None, f"{task.state.item}: {n_died} workers died while processing it (out of memory?)"
            future.release()
            return task, result, error
        return None

    def cancel(self, state: _ItemState[Item, Result] | None = None) -> None:
        """Cancels the tasks of an item, or of all items."""
        futures = [future for future, task in self._running.items() if state in (None, task.state)]
        for future in futures:
            del self._running[future]
        self._suspects = [task for task in self._suspects if state not in (None, task.state)]
        self._client.cancel(futures)


def _with_error_message(call: Callable[[], Result]) -> tuple[Result | None, str | None]:
    """In a worker: the result, or the message of an anticipated error."""
    try:
        return call(), None
    except (WsiLpdError, OSError) as err:
        return None, str(err)
