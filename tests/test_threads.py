"""Stages in threads: order, bounds, errors, and no thread left behind."""

import threading
from contextlib import closing

import pytest

from wsi_lpd.threads import ahead, in_order


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


def test_in_order__results_keep_the_order_of_the_items_whoever_is_done_first():
    second_began = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_began.wait(5)  # only if the next item is worked on meanwhile
        second_began.set()
        return number * number

    assert list(in_order(work, range(7), threads=2)) == [0, 1, 4, 9, 16, 25, 36]


def test_in_order__asks_for_few_items_and_stops_asking_when_closed():
    asked: list[int] = []

    def items():
        for number in range(100):
            asked.append(number)
            yield number

    with closing(in_order(str, items(), threads=2)) as results:
        assert next(results) == "0"
    assert asked == [0, 1, 2, 3]


def test_in_order__an_error_comes_in_its_turn():
    results = in_order(lambda number: 12 // number, [3, 4, 0, 6], threads=2)
    assert [next(results), next(results)] == [4, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
