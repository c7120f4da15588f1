"""Threads that read, and stages that work at the same time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MAX_THREADS = 8
"""Most reading threads by default; storage and the lock of OpenSlide's cache gain little from more."""

T = TypeVar("T")
R = TypeVar("R")


def n_threads(threads: int | None = None) -> int:
    """Number of reading threads: as asked, or one per core and at most `MAX_THREADS`."""
    return min(os.cpu_count() or 1, MAX_THREADS) if threads is None else max(threads, 1)


def ahead(items: Iterable[T], *, depth: int = 2) -> Generator[T, None, None]:
    """Makes items in a thread of its own, at most `depth` of them before they are asked for.

    An error that making an item raises is raised here, in its turn. Closing the generator, as an error or Ctrl-C in its
    caller does inside `contextlib.closing`, lets the thread finish the item it is at, ends it, and closes `items`.

    Args:
        items: Asked from one thread only; a generator may itself wait for another `ahead`.
        depth: How many items may wait; with the one in hand, what memory has to hold.
    """
    source, end = iter(items), object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        upcoming = deque(pool.submit(next, source, end) for _ in range(depth))
        while (item := upcoming.popleft().result()) is not end:
            upcoming.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(source, Generator):
            source.close()


def in_order(work: Callable[[T], R], items: Iterable[T], *, threads: int) -> Generator[R, None, None]:
    """Does `work` on every item in threads and yields the results in the order of the items.

    At most `threads + 2` results wait or are in the making, whatever the number of items. An error is raised in its
    turn. Closing the generator cancels what has not begun.

    Args:
        work: Safe in several threads at once.
        items: Asked from the caller's thread, a few ahead of what is yielded.
        threads: How many work at the same time.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="in_order")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
