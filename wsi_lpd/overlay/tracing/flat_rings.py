"""The coordinates of many geometries in one array, with indices of their rings, parts and geometries."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import shapely

from wsi_lpd.overlay.tracing.trace import Polygons
from wsi_lpd.types import AnyArray, BoolArray, Int64Array


@dataclass(frozen=True)
class FlatRings:
    """The rings of N Polygons and MultiPolygons.

    Attributes:
        xy: Positions, including those that close rings, (K, 2).
        ring_of: Ring of each position (K,).
        part_of: Part (a Polygon) of each ring (R,).
        geometry_of: Geometry of each part (P,).
        n_geometries: N; a geometry without area has no part.
    """

    xy: AnyArray
    ring_of: Int64Array
    part_of: Int64Array
    geometry_of: Int64Array
    n_geometries: int

    @functools.cached_property
    def is_whole(self) -> BoolArray:
        """Whether each position consists of integers, (K,)."""
        whole: BoolArray = (self.xy == np.rint(self.xy)).all(axis=1)
        return whole

    @functools.cached_property
    def are_whole(self) -> bool:
        """Whether all positions consist of integers."""
        return bool(self.is_whole.all())


def flat_rings(geometries: Polygons) -> FlatRings:
    """The rings of geometries (N,)."""
    parts, geometry_of = shapely.get_parts(geometries, return_index=True)
    rings, part_of = shapely.get_rings(parts, return_index=True)
    xy, ring_of = shapely.get_coordinates(rings, return_index=True)
    return FlatRings(xy, ring_of, part_of, geometry_of, len(geometries))
