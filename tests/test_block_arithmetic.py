"""How a slide is cut into blocks: every piece once, about equal, none too small."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_lpd.blocks import WorkLeft, blocks_per_slide, consecutive_ranges, muted_warnings, split_blocks

WORK = st.dictionaries(st.integers(0, 400), st.integers(1, 60), min_size=1).map(lambda costs: sorted(costs.items()))


@given(work=WORK, n_wanted=st.integers(1, 50), least=st.integers(1, 20))
def test_blocks__hold_every_piece_once_and_no_fewer_than_the_least(work, n_wanted, least):
    pieces, costs = zip(*work, strict=True)
    blocks = split_blocks(pieces, costs, n_wanted, least=least)
    held = [[piece for piece in pieces if piece in block] for block in blocks]
    assert [piece for block in held for piece in block] == list(pieces)
    assert all(a.stop <= b.start for a, b in pairwise(blocks))
    assert all((block[0], block[-1]) == (found[0], found[-1]) for block, found in zip(blocks, held, strict=True))
    assert len(blocks) == max(1, min(n_wanted, len(pieces) // least))
    assert len(blocks) == 1 or min(map(len, held)) >= least


@given(work=WORK, n_wanted=st.integers(1, 50))
def test_blocks__cost_about_the_same(work, n_wanted):
    pieces, costs = zip(*work, strict=True)
    cost = dict(work)
    blocks = split_blocks(pieces, costs, n_wanted, least=1)
    dearest = max(sum(cost.get(piece, 0) for piece in block) for block in blocks)
    assert dearest < sum(costs) / len(blocks) + max(costs)


def test_blocks__of_dear_pieces_are_short():
    costs = [1, 1, 1, 1, 1, 1, 30, 30, 30, 30, 1, 1]
    assert split_blocks(range(12), costs, 4, least=1) == [range(7), range(7, 8), range(8, 9), range(9, 12)]
    assert split_blocks(range(12), [5] * 12, 5, least=2) == [
        range(3),
        range(3, 5),
        range(5, 8),
        range(8, 10),
        range(10, 12),
    ]
    assert split_blocks([], [], 4, least=1) == []


@pytest.mark.parametrize(
    ("n_slides", "n_slots", "n_blocks"),
    [(1, 1, 1), (1, 2, 4), (1, 8, 16), (3, 8, 6), (7, 8, 3), (8, 8, 1), (9, 8, 1), (2, 0, 1), (0, 4, 1)],
)
def test_a_slide__is_cut_only_where_workers_would_be_idle(n_slides, n_slots, n_blocks):
    assert blocks_per_slide(n_slides, n_slots) == n_blocks


def test_work_left__splits_the_missing_pieces():
    work_left = WorkLeft(missing=[2, 3, 4, 8, 9, 10], costs=[1, 1, 1, 1, 1, 1], least=3, resumed=True)
    assert work_left.blocks(16) == [range(2, 5), range(8, 11)]
    assert work_left.blocks(1) == [range(2, 11)]
    assert WorkLeft(was_finished=True).blocks(5) == []


@given(st.sets(st.integers(0, 60)))
def test_runs__are_unbroken_and_apart(numbers):
    rows = consecutive_ranges(sorted(numbers))
    assert [number for row in rows for number in row] == sorted(numbers)
    assert all(len(row) > 0 for row in rows)
    assert all(a.stop < b.start for a, b in pairwise(rows))


def test_muted_warnings__hides_warnings_and_shows_errors(caplog):
    logger = logging.getLogger("wsi_lpd.somewhere")
    with muted_warnings():
        logger.warning("pale")
        logger.error("broken")
    logger.warning("thin")
    assert [record.getMessage() for record in caplog.records] == ["broken", "thin"]
