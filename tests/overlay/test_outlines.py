from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from label_maps import FIXED, label_maps, noise, outlines, strip_heights, strips_of, without_ignored

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.rasterize import rasterize
from wsi_lpd.overlay.raster.strips import recut
from wsi_lpd.overlay.simplification.simplify import MAX_AREA_ERROR, AreaAccount
from wsi_lpd.overlay.tracing.joined import FinishedRegions, RegionJoiner
from wsi_lpd.overlay.tracing.measure import measurements, tally_pixels
from wsi_lpd.overlay.tracing.outlines import Outline, trace_strips, traced_pieces
from wsi_lpd.overlay.tracing.trace import trace_regions

FRAME = GridFrame(3.7, 4.25, offset_x=1000, offset_y=-31)


def traced(label_map: np.ndarray, heights: list[int], **options) -> FinishedRegions:
    """All that `trace_strips` gives, in one."""
    first, *others = trace_strips(strips_of(label_map, heights), **options)
    for other in others:
        first = first.followed_by(other)
    return first


def without_background(label_map: np.ndarray) -> np.ndarray:
    return np.where(np.isin(label_map, (0, 255)), np.uint8(4), label_map)


@pytest.mark.parametrize("heights", [[1], [2], [3, 1], [100]])
@pytest.mark.parametrize("name", FIXED)
def test_trace_strips__are_the_regions_of_the_whole_map(name, heights):
    whole, joined = trace_regions(FIXED[name]), traced(FIXED[name], heights)
    assert outlines(joined.polygons, joined.labels) == outlines(whole.polygons, whole.labels)


@settings(max_examples=150)
@given(label_maps, strip_heights)
def test_trace_strips__are_the_regions_of_any_whole_map(label_map, heights):
    whole, joined = trace_regions(label_map), traced(label_map, heights)
    assert outlines(joined.polygons, joined.labels) == outlines(whole.polygons, whole.labels)
    assert shapely.is_valid(joined.polygons).all()
    assert shapely.coverage_is_valid(joined.polygons)
    assert shapely.area(joined.polygons).tolist() == joined.tally.areas_px.tolist()
    again = rasterize(joined.polygons, joined.labels, label_map.shape)
    np.testing.assert_array_equal(again, without_ignored(label_map))


@given(label_maps, strip_heights)
def test_trace_strips__are_the_regions_of_the_whole_map_in_level0_pixels(label_map, heights):
    whole = trace_regions(label_map, frame=FRAME)
    joined = traced(label_map, heights, frame=FRAME)
    assert outlines(joined.polygons, joined.labels) == outlines(whole.polygons, whole.labels)


@given(label_maps, strip_heights)
def test_trace_strips__background_is_covered_like_any_class(label_map, heights):
    joined = traced(without_background(label_map), heights)
    assert shapely.coverage_is_valid(joined.polygons)
    assert shapely.area(joined.polygons).sum() == label_map.size


@given(label_maps, strip_heights)
def test_trace_strips__pieces_are_measured_as_the_whole(label_map, heights):
    (strip,) = strips_of(label_map, [len(label_map)])
    names = ("a", "b", "c")
    regions = trace_regions(label_map)
    whole = tally_pixels(
        regions.components, len(regions), probabilities=strip.probabilities, prototypes=strip.prototypes
    )
    expected = measurements(whole, regions.labels, pixel_area_um2=0.25, class_names=names)
    found = {}
    for batch in trace_strips(strips_of(label_map, heights)):
        rows = measurements(batch.tally, batch.labels, pixel_area_um2=0.25, class_names=names)
        found |= dict(zip(map(shapely.to_wkt, shapely.normalize(batch.polygons)), rows, strict=True))
    assert found == dict(zip(map(shapely.to_wkt, shapely.normalize(regions.polygons)), expected, strict=True))


@settings(max_examples=150)
@given(label_maps, strip_heights, st.sampled_from([0.8, 1.0, 2.0, 5.0]), st.sampled_from([None, FRAME]))
def test_trace_strips__simplified_regions_keep_the_laws(label_map, heights, tolerance_px, frame):
    label_map = without_background(label_map)
    exact = traced(label_map, heights, frame=frame)
    simple = traced(label_map, heights, frame=frame, outline=Outline(tolerance_px))
    assert shapely.is_valid(simple.polygons).all()
    assert (shapely.get_type_id(simple.polygons) == shapely.GeometryType.POLYGON).all()
    assert shapely.coverage_is_valid(simple.polygons)
    assert shapely.area(simple.polygons).sum() == shapely.area(exact.polygons).sum()  # neither gap nor overlap
    before, after = (np.bincount(r.labels, weights=shapely.area(r.polygons)) for r in (exact, simple))
    assert (np.abs(after - before) <= MAX_AREA_ERROR * before + 1e-9).all()
    assert sorted(simple.labels.tolist()) == sorted(exact.labels.tolist())


@given(label_maps, strip_heights)
def test_trace_strips__simplified_regions_do_not_overlap_beside_background(label_map, heights):
    simple = traced(label_map, heights, outline=Outline(2.0))
    assert shapely.is_valid(simple.polygons).all()
    assert shapely.coverage_is_valid(simple.polygons)
    assert shapely.union_all(simple.polygons).area == pytest.approx(shapely.area(simple.polygons).sum())


def test_trace_strips__simplified_vertices_are_those_of_the_exact_outline_or_cross_a_seam():
    label_map = noise(300, 211, sigma=5, seed=4)
    exact, simple = (traced(label_map, [64], outline=outline) for outline in (None, Outline(1.0)))
    kept = {tuple(xy) for xy in shapely.get_coordinates(simple.polygons)}
    new = kept - {tuple(xy) for xy in shapely.get_coordinates(exact.polygons)}
    assert new
    assert all(y % 64 == 0 for _, y in new)
    n_exact, n_simple = (shapely.get_num_coordinates(r.polygons).sum() for r in (exact, simple))
    assert n_simple < 0.65 * n_exact


def test_trace_strips__a_straight_border_has_no_vertex_on_a_seam():
    label_map = np.repeat(np.array([[1, 1, 2, 2, 2]], np.uint8), 7, axis=0)
    for outline in (None, Outline(2.0)):
        simple = traced(label_map, [2], outline=outline)
        assert shapely.get_num_coordinates(simple.polygons).tolist() == [5, 5]


def test_trace_strips__the_account_has_the_areas_of_all_strips():
    label_map = noise(200, 151, sigma=5, seed=9)
    account = AreaAccount()
    simple = traced(label_map, [50], outline=Outline(2.0), account=account)
    np.testing.assert_array_equal(account.before[1:5], np.bincount(label_map.ravel())[1:])
    np.testing.assert_allclose(account.after[:5], np.bincount(simple.labels, weights=shapely.area(simple.polygons)))
    assert 0 < account.errors().max() <= MAX_AREA_ERROR


def test_trace_strips__regions_come_as_soon_as_they_are_whole_and_are_forgotten():
    tile = np.zeros((20, 23), np.uint8)
    tile[3:18, 2:9], tile[5:11, 4:7], tile[7:19, 12:20] = 1, 2, 3
    label_map = np.tile(tile, (40, 1))
    joiner, seen = RegionJoiner(), 0
    for regions, tally, _ in traced_pieces(recut(strips_of(label_map, [7]), 7), None):
        seen += len(joiner.add(regions, tally))
        bottom = regions.top + 7
        assert seen >= 3 * ((bottom - 1) // 20)
        assert len(joiner._open.labels) <= 3
    assert seen + len(joiner.finish()) == 120


def test_trace_strips__nothing_in_nothing_out():
    assert sum(map(len, trace_strips([]))) == 0
    assert len(traced(np.zeros((5, 3), np.uint8), [2])) == 0


def test_trace_strips__a_larger_map_of_blobs_and_specks():
    label_map = noise(700, 331, sigma=5, seed=3, speckles=0.01)
    label_map[100:110, 200:] = 255
    whole, joined = trace_regions(label_map), traced(label_map, [100])
    assert outlines(joined.polygons, joined.labels) == outlines(whole.polygons, whole.labels)
