"""Threads that read, and stages that work at the same time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MAX_THREADS = 8
"""Most reading threads by default; storage and the lock of OpenSlide's cache gain little from more."""

T = TypeVar("T")


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
