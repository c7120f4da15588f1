"""Visvalingam-Whyatt simplification of all borders of a label map at once, preserving the topology.

A vertex where exactly two edges meet lies on one border only, so borders are simplified as polylines between the other
vertices, and both regions of a border get the same result. The vertex that forms the smallest triangle with its two
neighbours is removed first (Visvalingam and Whyatt, 1993). Vertices whose triangle is smaller than those of both
neighbours are independent and are removed in the same round, so a round takes only a few array operations.

A vertex is kept if another vertex lies in its triangle, or if its neighbours are already connected, so no border
crosses or touches another one and no region vanishes. On the pixel grid this check is cheap, since a triangle of area
1/2 contains no other grid corner (Pick's theorem).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from wsi_lpd.types import AnyArray, BoolArray, Int64Array

_NEVER: Final = np.iinfo(np.int64).max
_ROUNDING: Final = 1e-9
_SCATTER: Final = 2654435761
"""An odd factor: multiplication modulo 2^32 gives equal triangles distinct ranks without a preferred direction."""


class Borders(NamedTuple):
    """The borders of a label map as a graph.

    Attributes:
        xy: Grid corners (V, 2) of the vertices.
        neighbours: The two neighbours of each vertex (V, 2); undefined for fixed vertices.
        fixed: Whether a vertex must be kept (V,): borders meet there, or it lies on the edge of the map.
        fixed_edges: Edges (E, 2) between two fixed vertices.
        shape: Height and width of the map; corners reach from 0 to these.
    """

    xy: Int64Array
    neighbours: Int64Array
    fixed: BoolArray
    fixed_edges: Int64Array
    shape: tuple[int, int]


def kept_vertices(borders: Borders, tolerance_px: float, *, clearance_px: float = 0.0) -> BoolArray:
    """Whether each vertex is kept (V,) when all triangles of at most `tolerance_px` squared are removed.

    Args:
        borders: Borders that cross or touch only at vertices.
        tolerance_px: Square root of the area of the largest triangle that is removed.
        clearance_px: Minimum distance between a vertex and an edge that does not end there; above 0 if corners are
            moved afterwards.
    """
    graph = _Graph(borders, 2 * tolerance_px * tolerance_px, clearance_px)
    candidates = graph.ranked(np.flatnonzero(~borders.fixed))
    while len(candidates):
        candidates = graph.without_lowest(candidates)
    return graph.alive


class _Graph:
    """Borders from which vertices are removed."""

    def __init__(self, borders: Borders, doubled_limit: float, clearance_px: float) -> None:
        n = len(borders.xy)
        self.alive = np.ones(n, dtype=bool)
        self._x, self._y = np.ascontiguousarray(borders.xy.T)
        self._a, self._b = borders.neighbours.T.copy()
        self._fixed, self._limit, self._clearance = borders.fixed, doubled_limit, clearance_px
        self._rank = np.full(n, _NEVER)
        self._width = borders.shape[1] + 1
        self._occupied = np.zeros((borders.shape[0] + 1) * self._width, dtype=bool)
        self._occupied[self._y * self._width + self._x] = True
        self._fixed_edges = self._edge(*borders.fixed_edges.T)

    def ranked(self, vertices: Int64Array) -> Int64Array:
        """Ranks free vertices by their triangles and returns those whose triangle is small enough to be removed."""
        doubled = np.abs(_cross(self._x, self._y, self._a[vertices], vertices, self._b[vertices]))
        small = doubled <= self._limit
        self._rank[vertices] = _NEVER
        vertices = vertices[small]
        self._rank[vertices] = (doubled[small] << 32) + (vertices * _SCATTER & 0xFFFFFFFF)
        return vertices

    def without_lowest(self, candidates: Int64Array) -> Int64Array:
        """Removes the vertices that rank below both neighbours; returns the candidates of the next round."""
        rank = self._rank[candidates]
        is_lowest = (rank < self._rank[self._a[candidates]]) & (rank < self._rank[self._b[candidates]])
        lowest, waiting = candidates[is_lowest], candidates[~is_lowest]
        self._rank[lowest] = _NEVER  # vertices that must be kept are tried again once a neighbour is removed
        gone = lowest[~self._closes(lowest) & ~self._holds_others(lowest)]
        gone = gone[~self._is_second(gone)]
        a, b = self._a[gone], self._b[gone]
        self.alive[gone] = False
        self._occupied[self._y[gone] * self._width + self._x[gone]] = False
        self._connect(a, gone, b)
        self._connect(b, gone, a)
        between_fixed = self._fixed[a] & self._fixed[b]
        self._fixed_edges = np.concatenate([self._fixed_edges, self._edge(a[between_fixed], b[between_fixed])])
        touched = np.concatenate([a, b])
        changed = self.ranked(self._once(touched[~self._fixed[touched]]))
        waiting = waiting[self._rank[waiting] != _NEVER]
        return self._once(np.concatenate([waiting, changed]))

    def _once(self, vertices: Int64Array) -> Int64Array:
        """The distinct vertices in ascending order."""
        chosen = np.zeros(len(self.alive), dtype=bool)
        chosen[vertices] = True
        return np.flatnonzero(chosen)

    def _connect(self, ends: Int64Array, gone: Int64Array, others: Int64Array) -> None:
        """Replaces the neighbours `gone` of `ends` by `others`."""
        first = self._a[ends] == gone
        self._a[ends[first]] = others[first]
        self._b[ends[~first]] = others[~first]

    def _across(self, vertices: Int64Array, neighbours: Int64Array) -> Int64Array:
        """The neighbour on the far side of each neighbour; -1 if that neighbour is fixed."""
        other: Int64Array = np.where(self._a[neighbours] == vertices, self._b[neighbours], self._a[neighbours])
        return np.where(self._fixed[neighbours], -1, other)

    def _edge(self, a: Int64Array, b: Int64Array) -> Int64Array:
        """A key for each edge, independent of its direction."""
        return np.minimum(a, b) * len(self.alive) + np.maximum(a, b)

    def _closes(self, vertices: Int64Array) -> BoolArray:
        """Whether the two neighbours of each are connected without it."""
        a, b = self._a[vertices], self._b[vertices]
        connected: BoolArray = (self._across(vertices, a) == b) | (self._across(vertices, b) == a)
        between = np.flatnonzero(self._fixed[a] & self._fixed[b])
        connected[between] = np.isin(self._edge(a[between], b[between]), self._fixed_edges)
        return connected

    def _is_second(self, gone: Int64Array) -> BoolArray:
        """Whether removing an earlier vertex of `gone` creates the same edge."""
        edges = self._edge(self._a[gone], self._b[gone])
        second = np.ones(len(gone), dtype=bool)
        second[np.unique(edges, return_index=True)[1]] = False
        return second

    def _holds_others(self, vertices: Int64Array) -> BoolArray:
        """Whether the closed triangle of each vertex, or the clearance of its new edge, contains another vertex."""
        corners = np.stack([self._a[vertices], vertices, self._b[vertices]], axis=1)
        x, y = self._x[corners], self._y[corners]
        # A grid corner beside an edge of length l is at least 1 / l away from it.
        is_long = np.hypot(x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]) * self._clearance >= 1
        tried = np.flatnonzero((np.abs(_cross(self._x, self._y, *corners.T)) > 1) | is_long)
        triangle, column, row = _grid_corners_in(x[tried], y[tried], np.where(is_long[tried], self._clearance, 0))
        triangle, at = tried[triangle], row * self._width + np.clip(column, 0, self._width - 1)
        occupied = self._occupied[at]
        triangle, at = triangle[occupied], at[occupied]
        foreign = (at[:, None] != y[triangle] * self._width + x[triangle]).all(axis=1)
        held = np.zeros(len(vertices), dtype=bool)
        held[triangle[foreign]] = True
        return held


def _cross(x: Int64Array, y: Int64Array, a: Int64Array, b: Int64Array, c: Int64Array) -> Int64Array:
    """Twice the signed areas of triangles, given the indices of their vertices."""
    return (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])


def _grid_corners_in(x: Int64Array, y: Int64Array, clearance: AnyArray) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Grid corners in triangles (T, 3), and within `clearance` (T,), less than 1, of the edge from first to last.

    Returns:
        Index of the triangle, column and row of each corner.
    """
    order = np.argsort(y, axis=1, kind="stable")
    (x0, x1, x2), (y0, y1, y2) = (np.take_along_axis(of, order, axis=1).T for of in (x, y))
    triangle, row = _counted_up(y0, y2)
    x0, x1, x2, y0, y1, y2 = (of[triangle] for of in (x0, x1, x2, y0, y1, y2))
    ends = [
        _between(x0, y0, x2, y2, row),
        np.where(row < y1, _between(x0, y0, x1, y1, row), _between(x1, y1, x2, y2, row)),
    ]
    is_flat = y0 == y2
    ends += [np.where(is_flat, x2, ends[0])]
    if clearance.any():
        first_x, last_x, first_y, last_y = (of[triangle, end] for of in (x, y) for end in (0, 2))
        nearest = _between(first_x, first_y, last_x, last_y, row)
        slope = (last_x - first_x) / np.where(last_y == first_y, 1, last_y - first_y)
        slack = clearance[triangle] * np.sqrt(1 + slope * slope)
        beside = (row >= np.minimum(first_y, last_y)) & (row <= np.maximum(first_y, last_y))
        least = np.minimum(first_x, last_x) - clearance[triangle]
        most = np.maximum(first_x, last_x) + clearance[triangle]
        ends += [np.where(beside, np.clip(nearest + side * slack, least, most), ends[0]) for side in (-1, 1)]
    left, right = np.minimum.reduce(ends), np.maximum.reduce(ends)
    place, column = _counted_up(
        np.ceil(left - _ROUNDING).astype(np.int64), np.floor(right + _ROUNDING).astype(np.int64)
    )
    return triangle[place], column, row[place]


def _between(x0: Int64Array, y0: Int64Array, x1: Int64Array, y1: Int64Array, row: Int64Array) -> AnyArray:
    """The x at which the line through two points crosses a row; the first point's x if the line runs along the row."""
    rise = y1 - y0
    at: AnyArray = x0 + (x1 - x0) * (row - y0) / np.where(rise == 0, 1, rise)
    return np.where(rise == 0, x0, at)


def _counted_up(first: Int64Array, last: Int64Array) -> tuple[Int64Array, Int64Array]:
    """All integers from `first` to `last` of each interval, and the interval of each."""
    sizes = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    within: AnyArray = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return owner, first[owner] + within
