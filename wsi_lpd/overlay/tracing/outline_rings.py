"""Polygons that share their vertices, as arrays of rings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.simplification.visvalingam import Borders
from wsi_lpd.overlay.tracing.trace import Polygons
from wsi_lpd.types import AnyArray, BoolArray, Int64Array


@dataclass(frozen=True)
class Rings:
    """The rings of P polygons that cover a map, with V vertices in all; no position is repeated to close a ring.

    Attributes:
        xy: Grid corners of the vertices, int64 (V, 2).
        placed: The same in the frame of the polygons, (V, 2).
        vertex: The vertices along each ring, one ring after the other, int64 (K,).
        ring_starts: Start of each ring in `vertex`, followed by the end, (R + 1,).
        polygon_starts: First ring of each polygon, followed by the end, (P + 1,).
        shape: Height and width of the map.
    """

    xy: Int64Array
    placed: AnyArray
    vertex: Int64Array
    ring_starts: Int64Array
    polygon_starts: Int64Array
    shape: tuple[int, int]

    def borders(self) -> Borders:
        """The borders of the polygons as a graph."""
        following = np.arange(1, len(self.vertex) + 1)
        following[self.ring_starts[1:] - 1] = self.ring_starts[:-1]
        after = self.vertex[following]
        neighbours = np.empty((len(self.xy), 2), dtype=np.int64)
        neighbours[self.vertex, 1] = after  # of the two rings along a border, the one written last counts
        before = np.empty_like(after)
        before[following] = self.vertex
        neighbours[self.vertex, 0] = before
        height, width = self.shape
        n_borders = np.bincount(self.vertex, minlength=len(self.xy))
        on_edge = (self.xy == 0).any(axis=1) | (self.xy == (width, height)).any(axis=1)
        fixed: BoolArray = (n_borders != 2) | on_edge
        between_fixed = fixed[self.vertex] & fixed[after]
        edges = np.stack([self.vertex[between_fixed], after[between_fixed]], axis=1)
        return Borders(self.xy, neighbours, fixed, edges, self.shape)

    def vertices_of(self, polygons: BoolArray) -> BoolArray:
        """Whether each vertex (V,) belongs to a polygon of the mask `polygons` (P,)."""
        of_polygon = np.repeat(polygons, np.diff(self.ring_starts[self.polygon_starts]))
        chosen = np.zeros(len(self.xy), dtype=bool)
        chosen[self.vertex[of_polygon]] = True
        return chosen

    def polygons(self, kept: BoolArray) -> Polygons:
        """The polygons with only the kept vertices (V,), of which every ring has at least three."""
        stays = kept[self.vertex]
        sizes = np.add.reduceat(stays, self.ring_starts[:-1], dtype=np.int64) + 1  # the first position closes the ring
        ends = np.cumsum(sizes)
        vertices = np.empty(int(ends[-1]), dtype=np.int64)
        closing = np.zeros(len(vertices), dtype=bool)
        closing[ends - 1] = True
        vertices[~closing] = self.vertex[stays]
        vertices[ends - 1] = vertices[ends - sizes]
        starts = np.concatenate([[0], ends])
        polygons: Polygons = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, self.placed[vertices], (starts, self.polygon_starts)
        )
        return polygons


def rings_of(polygons: Polygons, shape: tuple[int, int], frame: GridFrame | None, top: int) -> Rings:
    """The rings of polygons that cover a map, or a strip of it.

    Args:
        polygons: Polygons along pixel edges, in grid corners of the whole map or, with `frame`, in level-0 pixels.
        shape: Height and width of the map or the strip.
        frame: Frame of the polygons.
        top: Row of the whole map at which the strip starts.
    """
    _, xy, (ring_starts, polygon_starts) = shapely.to_ragged_array(polygons)
    closing = np.zeros(len(xy), dtype=bool)
    closing[ring_starts[1:] - 1] = True
    xy = xy[~closing]
    corners = np.rint(xy if frame is None else frame.to_grid(xy)).astype(np.int64) - (0, top)
    height, width = shape
    at = corners[:, 1] * (width + 1) + corners[:, 0]
    first = np.full((height + 1) * (width + 1), -1)
    first[at] = np.arange(len(at))
    chosen = first[first >= 0]  # one ring's position for each vertex, in raster order
    number = np.empty(len(at), dtype=np.int64)
    number[chosen] = np.arange(len(chosen))
    starts = ring_starts - np.arange(len(ring_starts))
    return Rings(corners[chosen], xy[chosen], number[first[at]], starts, polygon_starts, shape)
