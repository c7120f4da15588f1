from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from label_maps import FIXED, drawn, label_maps, noise, outlines

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.simplification.visvalingam import Borders, _grid_corners_in, kept_vertices
from wsi_lpd.overlay.tracing.outline_rings import rings_of
from wsi_lpd.overlay.tracing.trace import trace_regions

FRAME = GridFrame(3.7, 4.25, offset_x=1000, offset_y=-31)


def polyline(points: list[tuple[int, int]], *others: tuple[int, int]) -> Borders:
    """One border from a fixed vertex to another, and single fixed vertices that lie about."""
    n = len(points)
    fixed = np.ones(n + len(others), dtype=bool)
    fixed[1 : n - 1] = False
    numbers = np.arange(n + len(others))
    neighbours = np.stack([numbers - 1, numbers + 1], axis=1)
    return Borders(np.array([*points, *others]), neighbours, fixed, np.empty((0, 2), np.int64), (40, 50))


def rings(label_map, frame=None):
    regions = trace_regions(label_map, background=True, frame=frame)
    cover = np.concatenate([regions.polygons, regions.background])
    return cover, rings_of(cover, label_map.shape, frame, 0)


def test_kept_vertices__the_smallest_triangle_goes_first():
    # Without (3, 1) the triangle of (6, 0) would grow beyond the limit; without (6, 0) that of (3, 1) does not.
    border = polyline([(0, 0), (3, 1), (6, 0), (9, 3), (20, 3)])
    assert kept_vertices(border, 2.0).tolist() == [True, False, True, True, True]
    assert kept_vertices(border, 1.5).tolist() == [True] * 5
    assert kept_vertices(border, 6.0).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("other", "clearance_px", "stays"),
    [
        ((4, 1), 0.0, True),  # in the triangle
        ((4, 0), 0.0, True),  # on the new edge
        ((4, -1), 0.0, False),
        ((4, 4), 0.0, False),
        ((8, 3), 0.0, False),
        ((12, -1), 0.9, False),  # near the line, but beyond its end
    ],
)
def test_kept_vertices__a_triangle_that_holds_another_vertex_stays(other, clearance_px, stays):
    border = polyline([(0, 10), (5, 13), (10, 10)], (other[0], other[1] + 10))
    assert kept_vertices(border, 5.0, clearance_px=clearance_px)[1] == stays


@pytest.mark.parametrize(("clearance_px", "stays"), [(0.0, False), (0.05, False), (0.2, True)])
def test_kept_vertices__an_edge_keeps_clear_of_others(clearance_px, stays):
    # (5, 11) is 0.09 px below the line from (0, 10) to (11, 12), on the other side of the triangle.
    border = polyline([(0, 10), (6, 10), (11, 12)], (5, 11), (30, 3))
    assert kept_vertices(border, 4.0, clearance_px=clearance_px)[1] == stays


def test_kept_vertices__a_region_keeps_three():
    lens, speck = drawn(["111111", "112211", "333333"]), drawn(["11111", "11211", "11111", "11111"])
    for label_map in (lens, speck):
        cover, them = rings(label_map)
        polygons = them.polygons(kept_vertices(them.borders(), 50.0))
        assert shapely.is_valid(polygons).all()
        assert shapely.coverage_is_valid(polygons)
        assert len(polygons) == len(cover)


def test_kept_vertices__both_directions_of_a_border_are_simplified_alike():
    label_map = noise(60, 41, sigma=3, seed=2)
    _, them = rings(label_map)
    _, mirrored = rings(np.ascontiguousarray(label_map[:, ::-1]))
    kept, kept_mirrored = (r.polygons(kept_vertices(r.borders(), 1.5)) for r in (them, mirrored))
    n, n_mirrored = (int(shapely.get_num_coordinates(p).sum()) for p in (kept, kept_mirrored))
    assert n == pytest.approx(n_mirrored, rel=0.05)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=3, max_size=3, unique=True),
    st.sampled_from([0.0, 0.3, 0.5]),
)
def test_grid_corners_in__are_those_in_the_triangle_or_near_the_edge(points, clearance):
    x, y = (np.array([column], np.int64) for column in zip(*points, strict=True))
    _, columns, rows = _grid_corners_in(x, y, np.array([clearance]))
    found = {*zip(columns.tolist(), rows.tolist(), strict=True)}
    triangle = shapely.MultiPoint(points).convex_hull
    edge = shapely.LineString([points[0], points[2]])
    corners = {(cx, cy): shapely.Point(cx, cy) for cx in range(-2, 15) for cy in range(-2, 12)}
    inside = {at for at, point in corners.items() if shapely.dwithin(triangle, point, 1e-9)}
    near = {at for at, point in corners.items() if shapely.dwithin(edge, point, clearance - 1e-9)}
    a_little_farther = {at for at, point in corners.items() if shapely.dwithin(triangle, point, 1.0)}
    assert inside | (near if clearance else set()) <= found <= a_little_farther


@pytest.mark.parametrize("frame", [None, FRAME])
@given(label_map=label_maps)
def test_rings__with_all_vertices_are_the_polygons(frame, label_map):
    cover, them = rings(label_map, frame)
    everything = np.ones(len(them.xy), dtype=bool)
    numbers = np.arange(len(cover))
    assert outlines(them.polygons(everything), numbers) == outlines(cover, numbers)


@pytest.mark.parametrize("name", FIXED)
def test_rings__borders_are_walked_on_both_sides(name):
    _, them = rings(FIXED[name])
    borders = them.borders()
    free = np.flatnonzero(~borders.fixed)
    for vertex in free.tolist():
        for neighbour in borders.neighbours[vertex].tolist():
            assert borders.fixed[neighbour] or vertex in borders.neighbours[neighbour]
    assert (np.bincount(them.vertex)[free] == 2).all()
