"""Threads for reading, and stages that run concurrently."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MAX_THREADS = 8
"""Default maximum of reading threads; storage and the lock of OpenSlide's cache leave little gain beyond it."""

T = TypeVar("T")
R = TypeVar("R")


def n_threads(threads: int | None = None) -> int:
    """Number of reading threads: `threads` if given, else one per core, at most `MAX_THREADS`."""
    return min(os.cpu_count() or 1, MAX_THREADS) if threads is None else max(threads, 1)


def ahead(items: Iterable[T], *, depth: int = 2) -> Generator[T, None, None]:
    """Computes items in a separate thread, at most `depth` of them before they are requested.

    An error raised while computing an item is raised here when that item's turn comes. Closing the generator, as
    `contextlib.closing` does on an error or Ctrl-C, lets the thread finish its current item, ends it and closes
    `items`.

    Args:
        items: Consumed in one thread only; a generator may itself consume another `ahead`.
        depth: How many items may wait; memory holds these and the one in use.
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
    """Applies `work` to every item in threads and yields the results in the order of the items.

    At most `threads + 2` results are waiting or being computed, whatever the number of items. An error is raised when
    that item's turn comes. Closing the generator cancels pending items.

    Args:
        work: Must be thread-safe.
        items: Consumed in the caller's thread, a few items before their results are yielded.
        threads: Number of threads.
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
