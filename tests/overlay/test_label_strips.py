"""A map in strips is the map, however it is cut."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_maps import noise

from wsi_lpd.classes import QUPATH_CLASSES
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.draw import draw_overlay
from wsi_lpd.overlay.raster.label_strips import every_nth, label_counts, map_size, of_height, sampled, tiles
from wsi_lpd.overlay.raster.mask import write_mask

CUTS = st.lists(st.integers(0, 60), max_size=6).map(sorted)


def a_map(height, width):
    return np.random.default_rng((height, width)).integers(0, 256, (height, width), np.uint8)


def cut(label_map, cuts):
    edges = [0, *(min(c, len(label_map)) for c in cuts), len(label_map)]
    return [label_map[a:b] for a, b in pairwise(edges)]


@given(height=st.integers(1, 60), width=st.integers(1, 40), cuts=CUTS)
def test_size_and_counts__are_those_of_the_map(height, width, cuts):
    label_map = a_map(height, width)
    assert map_size(cut(label_map, cuts)) == (height, width)
    np.testing.assert_array_equal(label_counts(cut(label_map, cuts)), np.bincount(label_map.ravel(), minlength=256))


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 40)),
    new=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    cuts=CUTS,
)
def test_sampled__is_the_label_at_the_middle_of_a_pixel(size, new, cuts):
    label_map = a_map(*size)
    rows, columns = (
        [int(Fraction(2 * i + 1, 2 * n) * full) for i in range(n)] for n, full in zip(new, size, strict=True)
    )
    np.testing.assert_array_equal(sampled(cut(label_map, cuts), *new), label_map[np.ix_(rows, columns)])


@given(height=st.integers(1, 60), width=st.integers(1, 40), cuts=CUTS, step=st.sampled_from([1, 2, 4, 8]))
def test_every_nth__is_a_slice_of_the_map(height, width, cuts, step):
    label_map = a_map(height, width)
    thinned = np.concatenate(list(every_nth(cut(label_map, cuts), step)))
    np.testing.assert_array_equal(thinned, label_map[::step, ::step])


@given(height=st.integers(1, 60), width=st.integers(1, 40), cuts=CUTS, rows=st.sampled_from([1, 7, 16, 60]))
def test_of_height__is_the_map_in_strips_of_one_height(height, width, cuts, rows):
    label_map = a_map(height, width)
    strips = list(of_height(cut(label_map, cuts), rows))
    assert all(len(strip) == rows for strip in strips[:-1])
    assert 1 <= len(strips[-1]) <= rows
    np.testing.assert_array_equal(np.concatenate(strips), label_map)


@given(height=st.integers(1, 60), width=st.integers(1, 40), cuts=CUTS, tile_px=st.sampled_from([1, 7, 16]))
def test_tiles__are_the_map_row_by_row(height, width, cuts, tile_px):
    label_map = a_map(height, width)
    found = list(tiles(cut(label_map, cuts), tile_px))
    assert all(tile.shape == (tile_px, tile_px) for tile in found)
    n_columns = -(-width // tile_px)
    together = np.block([found[i : i + n_columns] for i in range(0, len(found), n_columns)])
    np.testing.assert_array_equal(together[:height, :width], label_map)
    assert not together[height:].any()
    assert not together[:, width:].any()


@pytest.mark.parametrize("rows", [1, 128, 700])
def test_a_mask_from_strips__has_the_bytes_of_one_from_the_whole_map(tmp_path, rows):
    label_map = noise(1301, 1050, sigma=6, seed=2)
    frame = GridFrame(8, 8)
    for name, strips in (("a", [label_map]), ("b", cut(label_map, range(rows, 1301, rows)))):
        write_mask(tmp_path / f"{name}.ome.tif", strips, QUPATH_CLASSES, mpp=2.0, frame=frame)
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()


def test_a_picture_from_strips__is_that_of_the_whole_map():
    label_map = noise(130, 105, sigma=6, seed=2)
    thumbnail = np.random.default_rng(0).integers(0, 255, (57, 46, 3), np.uint8)
    whole, parts = (
        draw_overlay(thumbnail, strips, QUPATH_CLASSES, title="S") for strips in ([label_map], cut(label_map, [31, 90]))
    )
    np.testing.assert_array_equal(whole, parts)
