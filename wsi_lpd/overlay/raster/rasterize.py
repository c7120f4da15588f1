"""Polygons -> label map: the exact inverse of tracing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import shapely

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.tracing.trace import Polygons
from wsi_lpd.types import BACKGROUND, AnyArray, Int64Array, UInt8Array

_CROSSINGS_AT_ONCE: Final = 4_000_000
_PIXELS_AT_ONCE: Final = 8_000_000


def rasterize(
    polygons: Polygons | Sequence[Any],
    labels: UInt8Array | Sequence[int],
    shape: tuple[int, int],
    *,
    frame: GridFrame | None = None,
    out: UInt8Array | None = None,
) -> UInt8Array:
    """Draws polygons by the pixel-centre rule: a pixel takes the label of the polygon that contains its centre.

    A centre exactly on a border belongs to the polygon on its right (below, for a horizontal border), so polygons
    that share a border leave no gap and draw no pixel twice. Where polygons overlap, the later one wins.

    Args:
        polygons: Polygons or MultiPolygons (N,); other geometries and empty ones are skipped.
        labels: Label of each (N,).
        shape: Height and width of the label map.
        frame: Frame of the polygons (level-0 pixels of an overlay); None = they are in label-map grid coordinates.
        out: Contiguous label map (H, W) to draw on, modified and returned; None = a new one of zeros.
    """
    canvas = np.full(shape, BACKGROUND, dtype=np.uint8) if out is None else out
    if canvas.shape != tuple(shape) or not canvas.flags.c_contiguous:
        raise ValueError(f"out must be contiguous and of shape {shape}, got {canvas.shape}")
    values = np.asarray(labels, dtype=np.uint8)
    for first, last, edges, polygon_of_edge in _batches(np.asarray(polygons, dtype=object), frame):
        spans = _spans(edges, polygon_of_edge, shape)
        _paint(canvas, *spans, values[first:last])
    return canvas


def _batches(polygons: Polygons, frame: GridFrame | None) -> Iterator[tuple[int, int, AnyArray, Int64Array]]:
    """Yields (first, last, edges (E, 4) x0 y0 x1 y1 on the grid, polygon of each edge from 0) of bounded size."""
    is_area = np.isin(shapely.get_type_id(polygons), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    geometries = np.where(is_area, polygons, shapely.Polygon())
    xy, owner = shapely.get_coordinates(geometries, return_index=True)
    climb = np.abs(np.diff(xy[:, 1], append=0.0)) / (1.0 if frame is None else frame.downsample_y)
    climb[np.append(owner[1:] != owner[:-1], True)[: len(climb)]] = 0.0
    rows_crossed = np.bincount(owner, weights=climb, minlength=len(geometries))
    batch = (np.cumsum(rows_crossed) // _CROSSINGS_AT_ONCE).astype(np.int64)
    for first, last in pairwise([*np.flatnonzero(np.diff(batch, prepend=-1)).tolist(), len(geometries)]):
        yield first, last, *_edges(geometries[first:last], frame)


def _edges(geometries: Polygons, frame: GridFrame | None) -> tuple[AnyArray, Int64Array]:
    parts, part_owner = shapely.get_parts(geometries, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    xy, ring_of = shapely.get_coordinates(rings, return_index=True)
    if frame is not None:
        xy = frame.to_grid(xy)
    same_ring = ring_of[1:] == ring_of[:-1]
    edges = np.concatenate([xy[:-1], xy[1:]], axis=1)[same_ring]
    owner = part_owner[ring_part[ring_of[:-1][same_ring]]]
    downward = edges[:, 1] > edges[:, 3]
    # The same direction for both neighbours of a border, so that the crossings are equal to the last bit.
    edges[downward] = edges[downward][:, [2, 3, 0, 1]]
    return edges, owner


def _spans(edges: AnyArray, owner: Int64Array, shape: tuple[int, int]) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Flat start and end (excluded) of every covered stretch of a row, and its polygon; in order of the polygons."""
    height, width = shape
    first_row = np.clip(np.ceil(edges[:, 1] - 0.5), 0, height).astype(np.int64)
    last_row = np.clip(np.ceil(edges[:, 3] - 0.5), 0, height).astype(np.int64)  # excluded
    n_rows = last_row - first_row
    which = np.repeat(np.arange(len(edges)), n_rows)
    row = np.arange(len(which)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first_row[which]
    x0, y0, x1, y1 = edges[which].T
    x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    key = np.sort((owner[which] * height + row) * (width + 1) + column)
    line, column = np.divmod(key, width + 1)  # crossings come in pairs: in, out
    polygon, row = np.divmod(line[::2], height)
    return row * width + column[::2], row * width + column[1::2], polygon


def _paint(canvas: UInt8Array, start: Int64Array, end: Int64Array, polygon: Int64Array, labels: UInt8Array) -> None:
    flat = canvas.reshape(-1)
    lengths = end - start
    value = labels[polygon]
    total = np.cumsum(lengths)
    cuts = np.searchsorted(total, np.arange(0, int(total[-1]) if len(total) else 0, _PIXELS_AT_ONCE))
    for first, last in pairwise([*cuts.tolist(), len(lengths)]):
        length = lengths[first:last]
        before = np.cumsum(length) - length
        pixels = np.arange(int(length.sum())) + np.repeat(start[first:last] - before, length)
        flat[pixels] = np.repeat(value[first:last], length)  # of equal indices the last one stays: later wins
