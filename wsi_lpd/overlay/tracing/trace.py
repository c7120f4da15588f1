"""Label map -> exact polygons along pixel edges.

A corner of the pixel grid becomes a vertex where the boundary turns, and where three or four boundary edges meet.
Between two vertices boundaries are straight, so the next vertex of the same grid line ends the segment. Every segment
is walked once on each side (a half-edge); following half-edges from vertex to vertex closes the rings. All of this is
done for the whole map at once; the one sequential step, putting each ring in order, is a depth-first walk in scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import depth_first_order

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.tracing.components import label_components
from wsi_lpd.types import BACKGROUND, IGNORE, AnyArray, BoolArray, Int64Array, UInt8Array

Polygons = NDArray[Any]
"""Shapely geometries (N,), object dtype."""

RIGHT, DOWN, LEFT, UP = range(4)


class Outlined(Protocol):
    """The part of regions that is written to a file."""

    @property
    def polygons(self) -> Polygons:
        """Shapely Polygons or MultiPolygons (N,)."""

    @property
    def labels(self) -> UInt8Array:
        """Label of each, uint8 (N,)."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Regions:
    """One polygon with holes for each 4-connected component of a class.

    Attributes:
        polygons: Shapely polygons (N,), in label-map grid corners unless a `GridFrame` moved them to level-0 pixels.
        labels: Label-map value of each, uint8 (N,).
        components: int32 (H, W): 0 where there is no class, i + 1 where `polygons[i]` lies.
        areas_px: Label-map pixels of each, int64 (N,).
        frame: The frame that moved the polygons to level-0 pixels; None while they are in grid corners.
        top: Row of the whole map at which `components` begins: 0 unless this is a strip of a map.
        background: Polygons of the background, if it was traced; together with the regions they cover the map without
            gaps or overlaps.
    """

    polygons: Polygons
    labels: UInt8Array
    components: NDArray[np.int32]
    areas_px: Int64Array
    frame: GridFrame | None = None
    top: int = 0
    background: Polygons | None = None

    def __len__(self) -> int:
        return len(self.polygons)


class _Corners(NamedTuple):
    """The V vertices in raster order, and the labels of the four pixels around each."""

    x: Int64Array
    y: Int64Array
    around: UInt8Array
    """(4, V): north-west, north-east, south-west, south-east."""


class _Rings(NamedTuple):
    """R closed outlines, concatenated.

    Attributes:
        xy: Grid corners (K, 2).
        starts: Start of each (R,).
        component: Index of the polygon of each (R,).
    """

    xy: Int64Array
    starts: Int64Array
    component: Int64Array

    def polygons(self, placed: AnyArray) -> Polygons:
        """One polygon per component, with the corners `placed` (K, 2); rings clockwise on screen are shells."""
        if not len(self.xy):
            return np.empty(0, dtype=object)
        xy, starts, component = self
        ends = np.append(starts[1:], len(xy))
        following = np.arange(1, len(xy) + 1)
        following[ends - 1] = starts
        cross = xy[:, 0] * xy[following, 1] - xy[following, 0] * xy[:, 1]
        is_hole = np.add.reduceat(cross, starts) < 0
        ring_order = np.lexsort((starts, is_hole, component))
        sizes = (ends - starts)[ring_order] + 1  # the first position closes the ring
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        take = np.arange(offsets[-1]) + np.repeat(starts[ring_order] - offsets[:-1], sizes)
        take[offsets[1:] - 1] = starts[ring_order]
        rings_per_polygon = np.concatenate([[0], np.cumsum(np.bincount(component))])
        polygons: Polygons = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, placed[take], (offsets, rings_per_polygon)
        )
        return polygons


def trace_regions(
    label_map: UInt8Array, *, background: bool = False, frame: GridFrame | None = None, top: int = 0
) -> Regions:
    """Traces every 4-connected component of every label but 0 and 255 along its pixel edges.

    Neighbours share all vertices of their common border (`shapely.coverage_is_valid` holds), and rasterising the
    polygons by pixel centres restores `label_map`. Components are in raster order of their first pixel.

    Args:
        label_map: uint8 (H, W).
        background: Whether the background between the regions is traced too.
        frame: Moves the polygons to level-0 pixels of the overlay; None leaves them in grid corners of the whole map.
        top: Row of the whole map at which `label_map` starts.
    """
    drawn = np.where(label_map == IGNORE, np.uint8(BACKGROUND), label_map)
    found = label_components(drawn)
    is_class = found.labels != BACKGROUND
    n_regions = int(is_class.sum())
    number = np.where(is_class, np.cumsum(is_class), n_regions + np.cumsum(~is_class)).astype(np.int32)
    components = found.painted(number)
    wanted = np.unique(found.labels if background else found.labels[is_class])
    rings = _traced(drawn, components, wanted, outside=IGNORE if background else BACKGROUND)
    polygons = rings.polygons(corners_placed(rings.xy + np.array([0, top]), frame))
    components[drawn == BACKGROUND] = 0
    return Regions(
        polygons[:n_regions],
        found.labels[is_class],
        components,
        found.areas_px[is_class],
        frame,
        top,
        polygons[n_regions:] if background else None,
    )


def corners_placed(corners: AnyArray, frame: GridFrame | None) -> AnyArray:
    """Grid corners (N, 2) of the whole map in the frame of `trace_regions`."""
    return np.asarray(corners if frame is None else frame.to_level0(corners), dtype=np.float64)


def _traced(label_map: UInt8Array, components: NDArray[np.int32], wanted: UInt8Array, *, outside: int) -> _Rings:
    """The rings of all components of the `wanted` labels; `outside` is the label beyond the map."""
    corners = _corners(label_map, outside)
    is_edge, successor = _half_edges(corners, np.isin(np.arange(256), wanted), components)
    edges = np.flatnonzero(is_edge)
    position = np.empty(is_edge.size, dtype=np.int32)
    position[edges] = np.arange(len(edges), dtype=np.int32)
    order, starts = _cycles(position[successor[edges]])
    edges = edges[order]
    vertex, direction = edges // 4, edges % 4
    xy = np.stack([corners.x[vertex], corners.y[vertex]], axis=1)
    # The pixel to the right of a half-edge: below when heading right, on the left when heading down ...
    row = corners.y[vertex[starts]] - np.isin(direction[starts], (LEFT, UP))
    column = corners.x[vertex[starts]] - np.isin(direction[starts], (LEFT, DOWN))
    return _Rings(xy, starts, components[row, column].astype(np.int64) - 1)


def _corners(label_map: UInt8Array, outside: int) -> _Corners:
    padded = np.pad(label_map, 1, constant_values=outside)
    horizontal = padded[:-1] != padded[1:]  # boundary between a pixel and the one below it
    vertical = padded[:, :-1] != padded[:, 1:]
    left, right = horizontal[:, :-1], horizontal[:, 1:]
    up, down = vertical[:-1], vertical[1:]
    is_vertex = (left ^ right) | (up ^ down) | (left & up)
    flat = np.flatnonzero(is_vertex)
    y, x = np.divmod(flat, is_vertex.shape[1])
    corner = y * padded.shape[1] + x
    pixels = padded.reshape(-1)
    around = np.stack([pixels[corner + step] for step in (0, 1, padded.shape[1], padded.shape[1] + 1)])
    return _Corners(x, y, around)


def _half_edges(corners: _Corners, is_wanted: BoolArray, components: NDArray[np.int32]) -> tuple[BoolArray, Int64Array]:
    """Half-edges: number 4 v + d leaves vertex v in direction d with its region on the right.

    Returns:
        Whether each exists and bounds a label selected by `is_wanted` (256,), (4 V,); and the half-edge that follows
        each, (4 V,).
    """
    nw, ne, sw, se = corners.around
    is_edge = np.stack([ne != se, sw != se, nw != sw, nw != ne], axis=1)
    region = np.stack([se, sw, nw, ne], axis=1)
    is_edge &= is_wanted[region]
    joined_falling, joined_rising = _joined_diagonals(corners, components)
    target = _next_vertices(corners)
    turned = (
        turns(RIGHT, own=sw, ahead_right=se, ahead_left=ne, joined=joined_rising),
        turns(DOWN, own=nw, ahead_right=sw, ahead_left=se, joined=joined_falling),
        turns(LEFT, own=ne, ahead_right=nw, ahead_left=sw, joined=joined_rising),
        turns(UP, own=se, ahead_right=ne, ahead_left=nw, joined=joined_falling),
    )
    successor = np.stack([4 * at + turned_to[at] for at, turned_to in zip(target, turned, strict=True)], axis=1)
    return is_edge.reshape(-1), successor.reshape(-1)


def _joined_diagonals(corners: _Corners, components: NDArray[np.int32]) -> tuple[BoolArray, BoolArray]:
    """Corners where two diagonal pixels (nw and se; ne and sw) are of the same component, which touches itself there.

    The ring must turn away from the diagonal pixel; otherwise it would pass the corner twice and be invalid.
    """
    nw, ne, sw, se = corners.around
    crossing = np.flatnonzero((nw != ne) & (nw != sw) & (se != ne) & (se != sw))
    falling, rising = np.zeros(len(nw), dtype=bool), np.zeros(len(nw), dtype=bool)
    x, y = corners.x[crossing], corners.y[crossing]
    inside = (x > 0) & (y > 0) & (x < components.shape[1]) & (y < components.shape[0])
    crossing, x, y = crossing[inside], x[inside], y[inside]
    falling[crossing] = components[y - 1, x - 1] == components[y, x]
    rising[crossing] = components[y - 1, x] == components[y, x - 1]
    return falling, rising


def _next_vertices(corners: _Corners) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    """The next vertex of each to the right, below, to the left and above; undefined where no half-edge leaves."""
    n = len(corners.x)
    along_row = np.arange(n)
    narrow = np.uint16 if corners.x.max(initial=0) <= np.iinfo(np.uint16).max else np.int64  # radix sort
    by_column = np.argsort(corners.x.astype(narrow), kind="stable")
    down, up = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    down[by_column] = np.roll(by_column, -1)
    up[by_column] = np.roll(by_column, 1)
    return np.roll(along_row, -1), down, np.roll(along_row, 1), up


def turns(
    heading: int, *, own: UInt8Array, ahead_right: UInt8Array, ahead_left: UInt8Array, joined: BoolArray | bool
) -> NDArray[np.int8]:
    """The direction in which a ring leaves each vertex, reached with `heading` and the pixel `own` on its right."""
    right, left = (heading + 1) % 4, (heading - 1) % 4
    goes_on = np.where(ahead_left == ahead_right, left, heading)
    goes_off = np.where(joined, left, right)
    return np.where(own == ahead_right, goes_on, goes_off).astype(np.int8)


def _cycles(successor: NDArray[np.int32]) -> tuple[Int64Array, Int64Array]:
    """Concatenates the cycles of a permutation.

    A chain of n extra nodes, each leading to one element and to the next extra node, lets a single depth-first walk
    visit everything in time proportional to n: it follows the first cycle to its end, then the next one.

    Returns:
        The elements in order (n,), and the start of each cycle in it (R,); a cycle starts with its lowest element.
    """
    n = len(successor)
    if n == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    extra = np.stack([np.arange(n), np.arange(n) + n + 1], axis=1).reshape(-1)[:-1]
    indices = np.concatenate([successor, extra]).astype(np.int32)
    indptr = np.concatenate([np.arange(n), n + 2 * np.arange(n), [3 * n - 1]]).astype(np.int32)
    graph = csr_matrix((np.ones(len(indices)), indices, indptr), shape=(2 * n, 2 * n))
    walk = depth_first_order(graph, n, directed=True, return_predecessors=False)
    order = walk[walk < n].astype(np.int64)
    is_start = np.ones(n, dtype=bool)
    is_start[1:] = successor[order[:-1]] != order[1:]
    return order, np.flatnonzero(is_start)
