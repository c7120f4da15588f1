from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from label_maps import FIXED, drawn, label_maps, n_components, noise, outlines, without_ignored

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.rasterize import rasterize
from wsi_lpd.overlay.tracing.trace import Regions, trace_regions

frames = st.builds(
    GridFrame,
    st.floats(1, 97, allow_nan=False),
    st.floats(1, 97, allow_nan=False),
    st.integers(-70_000, 70_000),
    st.integers(-70_000, 70_000),
)


def assert_traced(label_map: np.ndarray, regions: Regions) -> None:
    polygons = regions.polygons
    assert len(regions) == n_components(label_map)
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).tolist() == regions.areas_px.tolist()
    np.testing.assert_array_equal(rasterize(polygons, regions.labels, label_map.shape), without_ignored(label_map))


@pytest.mark.parametrize("name", FIXED)
def test_trace_regions__fixed_maps_come_back(name):
    assert_traced(FIXED[name], trace_regions(FIXED[name]))


@given(label_maps)
def test_trace_regions__any_map_comes_back(label_map):
    assert_traced(label_map, trace_regions(label_map))


@given(label_maps)
def test_trace_regions__every_geometry_survives_qupath_rounding(label_map):
    polygons = trace_regions(label_map).polygons
    snapped = shapely.set_precision(polygons, 0.01)
    assert shapely.equals(polygons, snapped).all()


@given(label_maps)
def test_trace_regions__components_name_the_polygon_of_each_pixel(label_map):
    regions = trace_regions(label_map)
    y, x = np.nonzero(regions.components)
    owner = regions.components[y, x] - 1
    assert shapely.contains_xy(regions.polygons[owner], x + 0.5, y + 0.5).all()
    np.testing.assert_array_equal(regions.labels[owner], label_map[y, x])
    np.testing.assert_array_equal(regions.components > 0, without_ignored(label_map) > 0)


@given(label_maps)
def test_trace_regions__the_background_covers_the_rest_of_the_map(label_map):
    regions, alone = trace_regions(label_map, background=True), trace_regions(label_map)
    assert outlines(regions.polygons, regions.labels) == outlines(alone.polygons, alone.labels)
    np.testing.assert_array_equal(regions.components, alone.components)
    background = regions.background
    together = np.concatenate([regions.polygons, background])
    assert shapely.coverage_is_valid(together)
    assert shapely.area(together).sum() == label_map.size
    assert shapely.area(background).sum() == (without_ignored(label_map) == 0).sum()


def test_trace_regions__vertices_only_at_corners_and_where_three_borders_meet():
    #  11   The side of 1 has a vertex at (1, 2), where 2 and 3 meet; the side of 3 above nothing has none.
    #  11
    #  23
    #  .3
    regions = trace_regions(drawn(["11", "11", "23", ".3"]))
    corners = {tuple(map(int, xy)) for xy in shapely.get_coordinates(regions.polygons[0])}
    assert corners == {(0, 0), (2, 0), (2, 2), (1, 2), (0, 2)}
    assert {tuple(map(int, xy)) for xy in shapely.get_coordinates(regions.polygons[2])} == {
        (1, 2), (2, 2), (2, 4), (1, 4), (1, 3),
    }  # fmt: skip


def test_trace_regions__holes_are_kept_with_what_lies_in_them():
    regions = trace_regions(FIXED["speck in a hole in a region"])
    assert regions.labels.tolist() == [1, 2]
    assert shapely.get_num_interior_rings(regions.polygons).tolist() == [1, 0]
    assert regions.polygons[0].interiors[0].bounds == (1, 1, 5, 4)


def test_trace_regions__holes_that_touch_at_a_corner_stay_two():
    (polygon,) = trace_regions(FIXED["diagonal holes"]).polygons
    assert sorted(ring.bounds for ring in polygon.interiors) == [(1, 1, 2, 2), (2, 2, 3, 3)]


def test_trace_regions__regions_are_in_raster_order_of_their_first_pixel():
    regions = trace_regions(drawn(["..3.1", "2.331", "2...."]))
    assert regions.labels.tolist() == [3, 1, 2]


def test_trace_regions__does_not_change_its_input():
    label_map = FIXED["ignored among classes"].copy()
    trace_regions(label_map)
    np.testing.assert_array_equal(label_map, FIXED["ignored among classes"])


@given(label_maps, frames)
def test_trace_regions__in_level0_pixels_is_valid_and_gives_the_map_back_at_cell_centres(label_map, frame):
    regions = trace_regions(label_map, frame=frame)
    xy = shapely.get_coordinates(regions.polygons)
    np.testing.assert_array_equal(xy, np.rint(xy))
    assert shapely.is_valid(regions.polygons).all()
    assert shapely.coverage_is_valid(regions.polygons)
    again = rasterize(regions.polygons, regions.labels, label_map.shape, frame=frame)
    np.testing.assert_array_equal(again, without_ignored(label_map))


@given(frames, st.integers(0, 300_000))
def test_grid_frame__corners_are_whole_and_never_meet(frame, first):
    corners = np.stack([np.arange(first, first + 50)] * 2, axis=1)
    moved = frame.to_level0(corners)
    assert moved.dtype == np.int64
    assert (np.diff(moved, axis=0) >= 1).all()
    assert np.abs(frame.to_grid(moved) - corners).max() <= 0.5


def test_grid_frame__subtracts_the_bounds():
    frame = GridFrame(4.0, 2.5, offset_x=100, offset_y=-7)
    assert frame.to_level0(np.array([[0, 0], [30, 3]])).tolist() == [[-100, 7], [20, 15]]


@pytest.mark.parametrize("downsample", [0.99, 0.0, -4.0, float("nan")])
def test_grid_frame__refuses_to_enlarge(downsample):
    with pytest.raises(ValueError, match="downsample must be >= 1"):
        GridFrame(4.0, downsample)


def test_trace_regions__a_larger_map_of_blobs_and_specks():
    label_map = noise(700, 531, sigma=5, seed=3, speckles=0.01)
    label_map[100:110, 200:] = 255
    regions = trace_regions(label_map)
    assert len(regions) > 2000
    assert shapely.get_num_interior_rings(regions.polygons).sum() > 1000
    assert_traced(label_map, regions)
