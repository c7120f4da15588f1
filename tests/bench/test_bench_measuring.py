"""Ratios of paired runs, tables, and processes that are measured by their own peak."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.measuring import (
    RunFailedError,
    environment_with,
    in_turn,
    median_ratio,
    names_among,
    ratio_estimate,
    run,
    table,
)


def test_a_ratio__is_the_median_of_pairs_and_not_the_ratio_of_medians():
    ours, theirs = [2.0, 40.0, 12.0, 5.0], [1.0, 10.0, 3.0, 5.0]
    assert median_ratio(ours, theirs) == 3.0  # of 2, 4, 4 and 1; the medians are 8.5 and 4
    estimate = ratio_estimate(ours, theirs, draws=2000)
    assert estimate.mean == 3.0
    assert (estimate.low, estimate.high) == (1.0, 4.0)


def test_a_single_pair__has_no_interval():
    assert ratio_estimate([3.0], [2.0]).text() == "1.500"


def test_the_interval__narrows_with_more_pairs():
    def width(n):
        found = ratio_estimate([1.0 + 0.1 * (i % 5) for i in range(n)], [1.0] * n, draws=2000)
        return found.high - found.low

    assert width(100) < width(5)


def test_a_table__has_empty_cells_for_none():
    assert table(("a", "b"), [(1, None), ("x", 2.5)]) == "| a | b |\n| --- | --- |\n| 1 |  |\n| x | 2.5 |"


def test_names__are_refused_with_what_there_is():
    read = names_among(("tile", "segment"), "part")
    assert read("segment,tile") == ["segment", "tile"]
    with pytest.raises(Exception, match="no part tiles; choose from tile, segment"):
        read("tile,tiles")


def test_a_measured_process__has_a_peak_of_its_own_and_its_last_line_is_its_summary():
    ballast = bytearray(200_000_000)
    program = "import json; x = bytearray(30_000_000); print('other'); print(json.dumps({'n': len(x)}))"
    found = run([sys.executable, "-c", program])
    assert found.summary == {"n": 30_000_000}
    assert 35 < found.peak_mb < 100, f"that of the process that starts it, which holds {len(ballast)} bytes"
    assert found.number("n") == 30_000_000
    assert found.number("wall_s") > 0


def test_a_contestant_that_fails__is_left_out(capsys):
    def work(status):
        return lambda: run([sys.executable, "-c", f"import sys; sys.exit('no such slide' if {status} else 0)"])

    found = in_turn({"good": work(0), "bad": work(1)}, 2)
    assert {name: len(runs) for name, runs in found.items()} == {"good": 2}
    assert "no such slide" in capsys.readouterr().err
    with pytest.raises(RunFailedError, match="exit status 1"):
        work(1)()


def test_measuring__imports_no_torch_into_what_is_measured():
    program = "import sys, benchmarks.measuring; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment_with()
    )
    assert done.stdout.strip() == "False"
