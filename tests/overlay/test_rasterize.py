from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster import rasterize as module
from wsi_lpd.overlay.raster.rasterize import rasterize


def star(n_points: int, seed: int, *, scale: float = 9.0) -> shapely.Polygon:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, n_points))
    radius = rng.uniform(0.3, 1.0, n_points) * scale
    centre = rng.uniform(3, 14, 2)
    return shapely.make_valid(
        shapely.Polygon(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None] + centre)
    )


def by_centres(geometry: shapely.Geometry, shape: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return shapely.contains_xy(geometry, x, y)


@given(st.integers(3, 40), st.integers(0, 10_000))
def test_rasterize__agrees_with_shapely_at_pixel_centres(n_points, seed):
    polygon = star(n_points, seed)
    np.testing.assert_array_equal(rasterize([polygon], [7], (17, 23)) == 7, by_centres(polygon, (17, 23)))


@given(st.integers(0, 10_000))
def test_rasterize__orientation_of_rings_does_not_matter(seed):
    with_hole = shapely.difference(star(12, seed), shapely.box(5, 5, 9, 8))
    parts = [p for p in shapely.get_parts(with_hole) if p.geom_type == "Polygon"]
    turned = [shapely.orient_polygons(p, exterior_cw=True) for p in parts]
    other = [shapely.orient_polygons(p, exterior_cw=False) for p in parts]
    labels = [1] * len(parts)
    np.testing.assert_array_equal(rasterize(turned, labels, (17, 23)), rasterize(other, labels, (17, 23)))


def test_rasterize__multipolygon_with_hole_and_island():
    ring = shapely.difference(shapely.box(1, 1, 8, 6), shapely.box(2, 2, 7, 5))
    shape = shapely.MultiPolygon([ring, shapely.box(4, 3, 5, 4)])
    expected = np.zeros((7, 9), dtype=np.uint8)
    expected[1:6, 1:8] = 3
    expected[2:5, 2:7] = 0
    expected[3, 4] = 3
    np.testing.assert_array_equal(rasterize([shape], [3], (7, 9)), expected)


@given(st.integers(0, 10_000))
def test_rasterize__neighbours_leave_no_gap_and_draw_no_pixel_twice(seed):
    rng = np.random.default_rng(seed)
    whole = shapely.box(0, 0, 23, 17)
    # Quarter pixels put many vertices and edges exactly on pixel centres.
    points = shapely.multipoints(np.rint(rng.uniform(0, 17, (12, 2)) * 4) / 4)
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=whole))
    cells = shapely.set_precision(shapely.intersection(cells, whole), 0.25)
    cells = np.array([c for c in cells if c.geom_type == "Polygon"])
    if not shapely.coverage_is_valid(cells) or shapely.area(cells).sum() != whole.area:
        return  # rounding broke the cells, which is not what is tested here
    drawn = sum((rasterize([cell], [1], (17, 23)) for cell in cells), np.zeros((17, 23), dtype=np.uint8))
    assert (drawn == 1).all()


def test_rasterize__later_polygons_win():
    shapes = [shapely.box(0, 0, 5, 3), shapely.box(3, 1, 9, 4), shapely.box(4, 0, 5, 9)]
    result = rasterize(shapes, [1, 2, 3], (4, 7))
    assert result.tolist() == [
        [1, 1, 1, 1, 3, 0, 0],
        [1, 1, 1, 2, 3, 2, 2],
        [1, 1, 1, 2, 3, 2, 2],
        [0, 0, 0, 2, 3, 2, 2],
    ]


def test_rasterize__what_reaches_past_the_map_is_cut():
    result = rasterize([shapely.box(-100, -50, 2, 1), shapely.box(5, 2, 1e7, 1e7)], [1, 2], (3, 6))
    assert result.tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2]]


def test_rasterize__points_lines_and_empty_shapes_draw_nothing():
    shapes = [shapely.Point(1, 1), shapely.LineString([(0, 0), (4, 4)]), shapely.Polygon(), shapely.MultiPolygon()]
    assert not rasterize(shapes, [1, 2, 3, 4], (5, 4)).any()
    assert not rasterize([], [], (5, 4)).any()


def test_rasterize__frame_places_level0_polygons():
    result = rasterize([shapely.box(90, 3, 110, 9)], [4], (3, 5), frame=GridFrame(10, 3, offset_x=-80, offset_y=0))
    assert result.tolist() == [[0] * 5, [0, 4, 4, 0, 0], [0, 4, 4, 0, 0]]


def test_rasterize__draws_on_what_is_there():
    canvas = np.full((3, 4), 9, dtype=np.uint8)
    assert rasterize([shapely.box(1, 1, 3, 2)], [0], (3, 4), out=canvas) is canvas
    assert canvas.tolist() == [[9, 9, 9, 9], [9, 0, 0, 9], [9, 9, 9, 9]]


def test_rasterize__refuses_a_canvas_it_would_copy():
    with pytest.raises(ValueError, match="contiguous"):
        rasterize([shapely.box(0, 0, 1, 1)], [1], (4, 3), out=np.zeros((3, 4), dtype=np.uint8).T)


def test_rasterize__batches_do_not_show(monkeypatch):
    shapes = [star(20, seed) for seed in range(30)]
    labels = np.arange(1, 31)
    whole = rasterize(shapes, labels, (17, 23))
    monkeypatch.setattr(module, "_CROSSINGS_AT_ONCE", 50)
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", 13)
    np.testing.assert_array_equal(rasterize(shapes, labels, (17, 23)), whole)
