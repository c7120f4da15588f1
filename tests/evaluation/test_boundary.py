"""Pixels near contours, counted by hand and by a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsi_lpd.evaluation.boundary import TRIMAP_RADII_PX, boundary_scores, boundary_width, count_boundaries
from wsi_lpd.evaluation.metrics import confusion

# A border of classes 1 and 2 in a 2 x 9 map; the prediction has it two columns to the right.
TRUTH = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 2]] * 2, dtype=np.uint8)
MOVED = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2]] * 2, dtype=np.uint8)


def test_boundary_iou__by_hand():
    counts = count_boundaries(TRUTH, MOVED, 2, width_px=3)
    # Class 1: columns 1-3 in the truth, 3-5 in the prediction. Class 2: 4-6 and 6-8. Image borders make no band.
    assert counts.shared.tolist() == [[2, 2], [2, 2]]
    assert counts.either.tolist() == [[10, 10], [10, 10]]
    scores = boundary_scores(counts, confusion(TRUTH, MOVED, 2), true_background=True)
    assert scores.iou == (0.2, 0.2)
    assert scores.miou == pytest.approx(0.2)
    assert count_boundaries(TRUTH, MOVED, 2, width_px=1).shared.tolist() == [[0, 0], [0, 0]]


def test_trimap__by_hand():
    counts = count_boundaries(TRUTH, MOVED, 2)
    # Within 3 px of the transition: columns 1 to 6; of those, 4 and 5 are called 1 instead of 2.
    assert counts.bands[0].tolist() == [[0, 0, 0], [0, 6, 0], [0, 4, 2]]
    assert counts.bands[1].sum() == TRUTH.size
    scores = boundary_scores(counts, confusion(TRUTH, MOVED, 2), true_background=True)
    assert scores.trimap[3] == pytest.approx((6 / 10 + 2 / 6) / 2)
    assert scores.interior[3] == 1
    assert math.isnan(scores.interior[7])


def test_true_background__makes_contours_only_where_it_counts():
    truth, prediction = TRUTH.copy(), TRUTH.copy()
    truth[:, :4] = 0
    prediction[:, :4] = 0
    prediction[:, 4:6] = 1
    counts = count_boundaries(truth, prediction, 2, width_px=2)
    # Left out: the truth has no contour; the prediction's are that of 1 (columns 4, 5) and of 2 (6, 7).
    assert counts.either[0].tolist() == [4, 4]
    assert counts.shared[0].tolist() == [0, 0]
    # Counted: the truth has class 2 with a contour to the background (4, 5).
    assert counts.either[1].tolist() == [4, 8]
    assert not counts.bands.any(), "a transition to background is none between tissues"


def test_what_is_not_judged__separates():
    truth = np.array([[1, 1, 255, 2, 2, 2], [1, 1, 255, 2, 2, 2]], dtype=np.uint8)
    prediction = np.array([[1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2]], dtype=np.uint8)
    counts = count_boundaries(truth, prediction, 2, width_px=3)
    assert not counts.either.any()
    assert not counts.bands.any()


def test_a_contour_beyond_a_gap__is_not_ones_own():
    # Class 3 of the right part lies within 3 px of class 1, but a strip that is not judged parts them.
    truth = np.array([[1, 1, 255, 2, 3, 3, 3, 3]] * 2, dtype=np.uint8)
    counts = count_boundaries(truth, truth.copy(), 3, width_px=3)
    assert counts.either[1].tolist() == [0, 2, 6]


def test_the_width__follows_the_diagonal():
    assert boundary_width((224, 224)) == 6
    assert boundary_width((5, 4)) == 1
    assert count_boundaries(np.tile(TRUTH, (20, 30)), np.tile(MOVED, (20, 30)), 2).width_px == (5, 5)


def plain_band(labels, c, judged, width):
    """Pixels of the class that have a judged neighbour of another value near enough, by two loops."""
    height, length = labels.shape
    inside = (labels == c) & judged
    beyond = np.zeros_like(inside)
    for y, x in np.argwhere(judged & ~inside):
        steps = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        beyond[y, x] = any(0 <= a < height and 0 <= b < length and inside[a, b] for a, b in steps)
    band = np.zeros_like(inside)
    for y, x in np.argwhere(inside):
        band[y, x] = any((y - b) ** 2 + (x - a) ** 2 <= width**2 for b, a in np.argwhere(beyond))
    return band


maps = st.tuples(st.integers(1, 7), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 1, 2, 2, 3, 255])),
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 1, 2, 3, 255])),
    )
)


@given(maps, st.integers(1, 4))
@settings(max_examples=60)
def test_count_boundaries__agrees_with_plain_loops(pair, width):
    truth, prediction = pair
    counts = count_boundaries(truth, prediction, 3, width_px=width)
    for row, judged in enumerate(((truth != 255) & (truth != 0), truth != 255)):
        for c in (1, 2, 3):
            t, p = (plain_band(labels, c, judged, width) for labels in (truth, prediction))
            assert counts.shared[row, c - 1] == (t & p).sum()
            assert counts.either[row, c - 1] == (t | p).sum()


@given(maps)
@settings(max_examples=60)
def test_trimaps__agree_with_plain_loops(pair):
    truth, prediction = pair
    sides = set()
    for y, x in np.ndindex(truth.shape):
        for a, b in ((y + 1, x), (y, x + 1)):
            if a < truth.shape[0] and b < truth.shape[1] and {truth[y, x], truth[a, b]} <= {1, 2, 3}:
                sides |= {(y, x), (a, b)} if truth[y, x] != truth[a, b] else set()
    counts = count_boundaries(truth, prediction, 3)
    for radius, band in zip(TRIMAP_RADII_PX, counts.bands, strict=True):
        near = np.full(truth.shape, 255, np.uint8)
        for y, x in np.ndindex(truth.shape):
            if any((y - b) ** 2 + (x - a) ** 2 <= (radius - 1) ** 2 for b, a in sides):
                near[y, x] = truth[y, x]
        np.testing.assert_array_equal(band, confusion(near, prediction, 3))


def test_counts__of_images_add_up():
    first, second = count_boundaries(TRUTH, MOVED, 2, width_px=3), count_boundaries(TRUTH, TRUTH, 2, width_px=5)
    both = first + second
    assert both.width_px == (3, 5)
    np.testing.assert_array_equal(both.shared, first.shared + second.shared)
    scores = boundary_scores(both, confusion(TRUTH, MOVED, 2) + confusion(TRUTH, TRUTH, 2), true_background=False)
    assert scores.iou[0] == (2 + 8) / (10 + 8)


def test_maps_of_one_class__have_no_boundary_to_score():
    plain = np.full((6, 9), 2, np.uint8)
    scores = boundary_scores(count_boundaries(plain, plain, 2), confusion(plain, plain, 2), true_background=True)
    assert math.isnan(scores.miou)
    assert scores.to_json(("A", "B"))["boundary_iou"] == {"A": None, "B": None}
    assert scores.interior == {3: 1, 7: 1}
