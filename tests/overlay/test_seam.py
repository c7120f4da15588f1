from __future__ import annotations

import numpy as np
import pytest
import shapely
from label_maps import drawn

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.tracing.seam import Seam, cut_at_seams


def seam(above: str, below: str, **options) -> Seam:
    return Seam(*drawn([above, below]), **{"row": 4, "frame": None, **options})


@pytest.mark.parametrize(
    ("above", "below", "x", "down", "xs", "goes_down", "is_straight"),
    [
        ("1122", "1122", 2, True, [2], True, True),
        ("1122", "1122", 2, False, [2], False, True),
        ("1122", "1112", 3, False, [3, 2], False, False),  # the 2 goes on to the left, above
        ("1122", "1112", 2, True, [2, 3], True, False),  # the 1 goes on to the right, below
        ("1122", "3333", 2, True, [2, 0], False, False),  # the 1 ends
        ("1122", "3333", 4, True, [4, 2], False, False),
        ("....", ".33.", 1, False, [1, 3], True, False),
        ("11..", "..11", 2, True, [2, 0], False, False),  # diagonal neighbours stay apart
        ("11..", "..11", 2, False, [2, 4], True, False),
        ("1111", "1221", 1, False, [1, 3], True, False),
    ],
)
def test_seam__follows_an_outline(above, below, x, down, xs, goes_down, is_straight):
    link = seam(above, below).follow(float(x), down=down)
    assert link.points.tolist() == [[x, 4] for x in xs]
    assert link.goes_down == goes_down
    assert link.is_straight == is_straight


def test_seam__a_third_region_leaves_its_corner_on_the_side_of_another():
    # The 1 ends above 2 and 3, which meet in the middle of its lower side.
    assert seam("1111", "2233").follow(4.0, down=True).points.tolist() == [[4, 4], [2, 4], [0, 4]]


def test_seam__lies_where_the_frame_puts_it():
    link = seam("1122", "3333", frame=GridFrame(4, 2.5, offset_x=3)).follow(5.0, down=True)
    assert link.points.tolist() == [[5, 10], [-3, 10]]


def test_cut_at_seams__leaves_what_is_between_them():
    hole = [(2, 5), (2, 6), (3, 6), (3, 5)]
    shell = [(0, 4), (9, 4), (9, 8), (7, 8), (7, 6), (5, 6), (5, 8), (0, 8)]
    other = [(11, 6), (14, 6), (14, 8), (11, 8)]
    holes, chains = cut_at_seams(np.array([shapely.Polygon(shell, [hole]), shapely.Polygon(other)]), 4, 8)
    assert [[ring.tolist() for ring in own] for own in holes] == [[[list(point) for point in hole]], []]
    assert sorted((chain.region, chain.points.tolist()) for chain in chains) == [
        (0, [[0, 8], [0, 4]]),
        (0, [[7, 8], [7, 6], [5, 6], [5, 8]]),
        (0, [[9, 4], [9, 8]]),
        (1, [[11, 8], [11, 6], [14, 6], [14, 8]]),
    ]


def test_cut_at_seams__it_does_not_matter_where_a_ring_starts():
    shell = [(0, 4), (9, 4), (9, 8), (0, 8)]
    for turned in range(4):
        holes, chains = cut_at_seams(np.array([shapely.Polygon(np.roll(shell, turned, axis=0))]), 4, 8)
        assert holes == [[]]
        assert sorted(chain.points.tolist() for chain in chains) == [[[0, 8], [0, 4]], [[9, 4], [9, 8]]]
