from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from label_maps import FIXED, drawn, label_maps, noise

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.simplification import simplify as module
from wsi_lpd.overlay.simplification.simplify import MAX_AREA_ERROR, simplify_regions
from wsi_lpd.overlay.tracing.trace import Regions, trace_regions

traced = partial(trace_regions, background=True)
FRAME = GridFrame(3.7, 4.25, offset_x=1000, offset_y=-31)


def assert_good(before: Regions, after: Regions) -> None:
    assert shapely.is_valid(after.polygons).all()
    assert (shapely.area(after.polygons) > 0).all()
    assert (shapely.get_type_id(after.polygons) == shapely.GeometryType.POLYGON).all()
    assert shapely.coverage_is_valid(after.polygons)
    xy = shapely.get_coordinates(after.polygons)
    np.testing.assert_array_equal(xy, np.rint(xy))
    exact, simple = (np.bincount(r.labels, weights=shapely.area(r.polygons)) for r in (before, after))
    assert (np.abs(simple - exact) <= MAX_AREA_ERROR * exact).all()
    assert shapely.set_precision(after.polygons, 0.01) is not None


@given(label_maps, st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_simplify_regions__keeps_the_laws_on_any_map(label_map, tolerance_px):
    regions = traced(label_map)
    assert_good(regions, simplify_regions(regions, tolerance_px))


@pytest.mark.parametrize("name", FIXED)
def test_simplify_regions__keeps_the_laws_in_level0_pixels(name):
    regions = traced(FIXED[name], frame=FRAME)
    assert_good(regions, simplify_regions(regions, 1.5))


@pytest.mark.parametrize("tolerance_px", [1.0, 1.5, 2.0])
def test_simplify_regions__drops_most_vertices_of_smooth_borders(tolerance_px):
    regions = traced(noise(400, 311, sigma=9, seed=4))
    simple = simplify_regions(regions, tolerance_px)
    assert_good(regions, simple)
    before, after = (shapely.get_num_coordinates(r.polygons).sum() for r in (regions, simple))
    assert after < before * {1.0: 0.55, 1.5: 0.4, 2.0: 0.3}[tolerance_px]
    kept = {tuple(xy) for xy in shapely.get_coordinates(simple.polygons)}
    assert kept <= {tuple(xy) for xy in shapely.get_coordinates(regions.polygons)}


def test_simplify_regions__is_the_same_in_level0_pixels():
    label_map = noise(150, 111, sigma=5, seed=9, n_labels=4)
    frame = GridFrame(4, 4, offset_x=1000, offset_y=-31)
    in_grid, moved = (simplify_regions(traced(label_map, frame=place), 1.5) for place in (None, frame))
    np.testing.assert_array_equal(
        frame.to_level0(shapely.get_coordinates(in_grid.polygons)), shapely.get_coordinates(moved.polygons)
    )


def test_simplify_regions__leaves_no_gap_to_what_lies_between():
    regions = traced(noise(200, 151, sigma=4, seed=6, speckles=0.01))
    simple = simplify_regions(regions, 1.5)
    outside = shapely.difference(shapely.box(0, 0, 151, 200), shapely.union_all(regions.background))
    # What simplification took from glass it gave to a region: the sum stays near, gaps would only take away.
    assert shapely.area(simple.polygons).sum() == pytest.approx(outside.area, rel=0.005)
    assert shapely.union_all(simple.polygons).area == pytest.approx(shapely.area(simple.polygons).sum())


def test_simplify_regions__zero_keeps_every_vertex():
    regions = traced(FIXED["blobs"], frame=FRAME)
    assert simplify_regions(regions, 0) is regions


def test_simplify_regions__a_class_of_specks_keeps_its_outline_and_the_others_do_not(caplog):
    label_map = noise(200, 151, sigma=9, seed=7)
    label_map[50:52, 60:62] = 7
    label_map[120, 90:93] = 7
    regions = traced(label_map)
    with caplog.at_level(logging.INFO):
        simple = simplify_regions(regions, 1.5)
    assert_good(regions, simple)
    specks = regions.labels == 7
    assert shapely.equals(simple.polygons[specks], regions.polygons[specks]).all()
    before, after = (shapely.get_num_coordinates(r.polygons[~specks]).sum() for r in (regions, simple))
    assert after < 0.6 * before
    assert "keep their exact outline" in caplog.text


def test_simplify_regions__broken_results_fall_back_to_the_exact_outline(monkeypatch):
    #  The notch of the 1 is cut off by a line from (0, 0) to (4, 3), which crosses the outline of the 2 in it.
    regions = traced(drawn(["1.....", "1122..", "11122.", "111111", "......"]))

    def without_inner_corners(borders, tolerance_px, *, clearance_px):
        inner = [(1, 0), (1, 1), (2, 2), (2, 1), (3, 2), (3, 3)]
        return ~(borders.xy[:, None] == inner).all(axis=2).any(axis=1)

    monkeypatch.setattr(module, "kept_vertices", without_inner_corners)
    assert module.draft(regions, 1.0).broken.any()
    simple = simplify_regions(regions, 1.0)
    assert shapely.coverage_is_valid(simple.polygons)
    assert shapely.equals(simple.polygons, regions.polygons).any()


def test_simplify_regions__wants_the_background():
    with pytest.raises(ValueError, match="without their background"):
        simplify_regions(trace_regions(FIXED["blobs"]), 1.0)
