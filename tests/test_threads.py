"""Stages in threads: order, bounds, errors, and no thread left behind."""

import threading
from contextlib import closing

import pytest

from wsi_lpd.threads import ahead


def threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("ahead")]


def test_working_ahead__keeps_order_and_passes_errors_on():
    def numbers():
        yield from range(5)
        raise ValueError("the sixth")

    source = ahead(numbers())
    assert [next(source) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the sixth"):
        next(source)
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 3])
def test_working_ahead__makes_no_more_than_it_may(depth):
    made = []
    gate = threading.Semaphore(0)

    def numbers():
        for i in range(20):
            made.append(i)
            gate.release()
            yield i

    with closing(ahead(numbers(), depth=depth)) as source:
        for n in range(1, 5):
            assert next(source) == n - 1
            while len(made) < n + depth:
                assert gate.acquire(timeout=10)
            assert len(made) <= n + depth


def test_stages_that_are_left_early__end_and_close_what_they_read_from():
    closed = []

    def numbers():
        try:
            yield from range(1000)
        finally:
            closed.append(threading.current_thread())

    def twenty():
        with closing(ahead(numbers())) as first, closing(ahead(2 * n for n in first)) as second:
            assert [next(second) for _ in range(10)] == list(range(0, 20, 2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        twenty()
    assert len(closed) == 1
    assert threads() == []


def test_an_error_in_the_first_of_two_stages__comes_out_of_the_second():
    def broken():
        yield 1
        raise OSError("torn")

    with closing(ahead(broken())) as first, closing(ahead(n + 1 for n in first)) as second:
        assert next(second) == 2
        with pytest.raises(OSError, match="torn"):
            next(second)
    assert threads() == []
