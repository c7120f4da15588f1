from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from label_maps import drawn, label_maps, noise
from scipy import ndimage

from wsi_lpd.overlay.components import label_components
from wsi_lpd.overlay.sieve import merge_small
from wsi_lpd.types import IGNORE


@given(label_maps)
def test_label_components__agrees_with_scipy_for_every_label(label_map):
    found = label_components(label_map)
    image = found.painted(np.arange(len(found.labels)))
    np.testing.assert_array_equal(found.painted(found.labels), label_map)
    np.testing.assert_array_equal(np.bincount(image.ravel()), found.areas_px)
    assert len(found.labels) == sum(ndimage.label(label_map == v)[1] for v in np.unique(label_map))
    assert (np.diff(found.first) > 0).all()
    np.testing.assert_array_equal(image.ravel()[found.first], np.arange(len(found.labels)))


@given(label_maps, st.floats(0, 30))
def test_merge_small__leaves_no_small_region_that_has_a_neighbour(label_map, min_area_px):
    result = merge_small(label_map, min_area_px)
    np.testing.assert_array_equal(result == IGNORE, label_map == IGNORE)
    found = label_components(result)
    small = np.flatnonzero((found.areas_px < min_area_px) & (found.labels != IGNORE))
    for number in small:
        inside = found.painted(np.arange(len(found.labels))) == number
        around = ndimage.binary_dilation(inside) & ~inside
        assert (result[around] == IGNORE).all()


@given(label_maps, st.floats(0, 30))
def test_merge_small__a_second_time_changes_nothing(label_map, min_area_px):
    once = merge_small(label_map, min_area_px)
    np.testing.assert_array_equal(merge_small(once, min_area_px), once)


@given(label_maps)
def test_merge_small__zero_and_one_pixel_change_nothing(label_map):
    for min_area_px in (0, 0.5, 1):
        np.testing.assert_array_equal(merge_small(label_map, min_area_px), label_map)


def test_merge_small__the_longest_border_decides():
    label_map = drawn(["1111222", "1113322", "1113322", "1112222"])
    # 3 has two pixels of border with 1, four with 2 to its right and below, and one of each above.
    assert merge_small(label_map, 5).tolist() == drawn(["1111222", "1112222", "1112222", "1112222"]).tolist()


def test_merge_small__a_speck_on_glass_becomes_glass_and_a_small_hole_is_filled():
    label_map = drawn([".......", ".1.....", "...2222", "...2.22", "...2222"])
    assert merge_small(label_map, 2).tolist() == drawn([".......", ".......", "...2222", "...2222", "...2222"]).tolist()


def test_merge_small__a_piece_that_joined_another_counts_as_large():
    # The 2 goes first and makes the two pieces of 1, of 4 pixels each, one region of 10, which stays.
    label_map = drawn(["11211", "11211", "....."])
    assert merge_small(label_map, 5).tolist() == drawn(["11111", "11111", "....."]).tolist()


def test_merge_small__ignored_pixels_take_nothing_in():
    label_map = drawn(["xxxx", "x1xx", "xxx."])
    assert merge_small(label_map, 9).tolist() == label_map.tolist()


def test_merge_small__a_field_of_equal_specks_takes_few_rounds(monkeypatch):
    from wsi_lpd.overlay import sieve

    rounds = []
    step = sieve._Graph.step
    monkeypatch.setattr(sieve._Graph, "step", lambda self, area: rounds.append(1) or step(self, area))
    rows, columns = np.indices((60, 90))
    merge_small(((rows + columns) % 3 + 1).astype(np.uint8), 20)
    assert len(rounds) < 60


def test_merge_small__does_not_change_its_input():
    label_map = noise(40, 53, sigma=1, seed=5)
    before = label_map.copy()
    assert (merge_small(label_map, 30) != before).any()
    np.testing.assert_array_equal(label_map, before)
