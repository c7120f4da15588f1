"""What is told of speed and of waiting."""

import pytest

from wsi_lpd.training import clock


def test_a_row__tells_patches_per_second_and_the_share_of_waiting_without_what_is_apart(monkeypatch):
    now = 100.0
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now)
    timer = clock.Clock()
    with timer.waiting():
        now += 1.5
    now += 2.5
    timer.count(32)
    with timer.apart():
        now += 50
    now += 2
    timer.count(16)
    assert timer.row() == pytest.approx({"patches_per_s": 48 / 6, "data_wait": 1.5 / 6})
    now += 4
    timer.count(8)
    assert timer.row() == pytest.approx({"patches_per_s": 2, "data_wait": 0}), "a row begins anew"
