from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_maps import drawn, label_maps, noise, strip_heights, strips_of
from scipy import ndimage

from wsi_lpd.overlay.raster.sieve import Sieve, sieved
from wsi_lpd.overlay.tracing.components import label_components
from wsi_lpd.types import IGNORE


def merge_small(label_map, min_area_px, **options):
    """The whole map at once: below a row of 255, which takes nothing in, nothing has to wait for rows to come."""
    end = np.full((1, label_map.shape[1]), IGNORE, np.uint8)
    return Sieve(min_area_px, **options).add(np.concatenate([label_map, end]))[: len(label_map)]


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


@pytest.mark.parametrize(("min_hole_px", "filled"), [(None, False), (1, False), (6, False), (7, True)])
def test_merge_small__holes_have_a_least_area_of_their_own(min_hole_px, filled):
    # A hole of six pixels with more of its border on 1 than on 2, and a speck of 3.
    label_map = drawn(["11111122", "11...122", "1...2222", "11122232", "11122222"])
    speck_gone = ["11111122", "11...122", "1...2222", "11122222", "11122222"]
    both_gone = ["11111122", "11111122", "11112222", "11122222", "11122222"]
    result = merge_small(label_map, 3, min_hole_px=min_hole_px)
    assert result.tolist() == drawn(both_gone if filled else speck_gone).tolist()


def test_merge_small__holes_alone():
    label_map = drawn(["111111", "1.1121", "111111", "11..11", "111111"])
    assert merge_small(label_map, 0, min_hole_px=2).tolist() == drawn(
        ["111111", "111121", "111111", "11..11", "111111"]
    ).tolist()  # fmt: skip


def test_merge_small__a_piece_that_joined_another_counts_as_large():
    # The 2 goes first and makes the two pieces of 1, of 4 pixels each, one region of 10, which stays.
    label_map = drawn(["11211", "11211", "....."])
    assert merge_small(label_map, 5).tolist() == drawn(["11111", "11111", "....."]).tolist()


def test_merge_small__ignored_pixels_take_nothing_in():
    label_map = drawn(["xxxx", "x1xx", "xxx."])
    assert merge_small(label_map, 9).tolist() == label_map.tolist()


def test_merge_small__a_field_of_equal_specks_takes_few_rounds(monkeypatch):
    from wsi_lpd.overlay.raster import sieve

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


def sieved_rows(label_map, min_area_px, heights, **options):
    return np.concatenate(list(sieved(label_strips_of(label_map, heights), min_area_px, **options)))


def label_strips_of(label_map, heights):
    return [strip.labels for strip in strips_of(label_map, heights)]


half_small = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 9)), elements=st.sampled_from((0, 1, 1, 1, 2, IGNORE))
)


@settings(max_examples=200)
@given(st.one_of(label_maps, half_small), st.floats(0, 30), st.none() | st.floats(0, 60), strip_heights)
def test_sieved__is_what_the_whole_map_gives(label_map, min_area_px, min_hole_px, heights):
    np.testing.assert_array_equal(
        sieved_rows(label_map, min_area_px, heights, min_hole_px=min_hole_px),
        merge_small(label_map, min_area_px, min_hole_px=min_hole_px),
    )


@pytest.mark.parametrize("height", [3, 64, 500])
def test_sieved__is_what_the_whole_map_gives_of_a_larger_one(height):
    label_map = noise(301, 157, sigma=4, seed=3, speckles=0.03)
    label_map[140:170, :60] = IGNORE
    np.testing.assert_array_equal(sieved_rows(label_map, 60, [height]), merge_small(label_map, 60))


def test_sieved__holds_few_rows():
    came, went = [], []

    def counted():
        for strip in label_strips_of(noise(600, 83, sigma=4, seed=3, speckles=0.01), [20]):
            came.append(len(strip))
            yield strip

    for strip in sieved(counted(), 40):
        went.append(len(strip))
        assert sum(came) - sum(went) <= 60
    assert sum(came) == sum(went) == 600


def test_sieved__of_noise_no_more_rows_are_held_than_allowed():
    label_map = np.random.default_rng(1).integers(0, 4, (400, 37), dtype=np.uint8)
    sieve = Sieve(50, max_rows=64)
    rows = []
    for top in range(0, 400, 16):
        rows.append(sieve.add(label_map[top : top + 16]))
        assert top + 16 - sum(map(len, rows)) <= 64
    rows.append(sieve.finish())
    result = np.concatenate(rows)
    assert result.shape == label_map.shape
    assert len(label_components(result).labels) < len(label_components(label_map).labels) / 20


def test_sieve__nothing_in_nothing_out():
    assert list(sieved([], 40)) == []
    assert list(sieved([np.zeros((0, 5), np.uint8)], 40)) == []


def test_merge_small__borders_with_several_regions_of_a_label_add_up():
    label_map = drawn(["11x22", "11x22", "113x2", "xx3x2", "11344", "11x44", "11x44"])
    # 3 has one pixel of border with each piece of 1, and one with 4.
    expected = drawn(["11x22", "11x22", "111x2", "xx1x2", "11144", "11x44", "11x44"])
    assert merge_small(label_map, 4).tolist() == expected.tolist()
    assert merge_small(np.where(label_map == 1, np.uint8(9), label_map), 4)[2, 2] == 9
