"""QuPath's rules for geometries and class names: a single invalid geometry makes QuPath reject the whole file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import shapely

from wsi_lpd.overlay.tracing.flat_rings import FlatRings, flat_rings
from wsi_lpd.overlay.tracing.trace import Polygons
from wsi_lpd.types import BoolArray

PRECISION_PX: Final = 0.01
"""QuPath 0.6 and later snap every geometry to this grid and reject the file if that fails."""

_POLYGON, _MULTI_POLYGON = int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON)


def geometry_problems(geometries: Polygons | Sequence[Any], rings: FlatRings | None = None) -> list[str | None]:
    """The reason why QuPath would reject each geometry; None where it is accepted.

    Accepted are Polygons and MultiPolygons that are finite, valid in the OGC sense and not empty, and remain so on
    QuPath's grid of 0.01 px.

    Args:
        geometries: (N,).
        rings: Their rings, if already computed.
    """
    array = np.asarray(geometries, dtype=object)
    problems: list[str | None] = [None] * len(array)
    is_area = np.isin(shapely.get_type_id(array), (_POLYGON, _MULTI_POLYGON)) & ~shapely.is_empty(array)
    valid = is_area & shapely.is_valid(array)
    for i in np.flatnonzero(~valid):
        problems[i] = "is empty or not a polygon" if not is_area[i] else str(shapely.is_valid_reason(array[i]))
    for i in np.flatnonzero(valid & ~(shapely.area(array) > 0)):
        problems[i] = "has no area"
    for i in np.flatnonzero(valid & ~_snapping_changes_nothing(flat_rings(array) if rings is None else rings)):
        if problems[i] is None:
            problems[i] = _snapping_problem(array[i])
    return problems


def _snapping_changes_nothing(rings: FlatRings) -> BoolArray:
    """Whether snapping to 0.01 px provably leaves a geometry unchanged, so that it need not be tried; (N,).

    This holds if all coordinates are integers and every edge is axis-parallel or shorter than 100 px: then a vertex is
    either on an edge or at least 1 / length > 0.01 px away from it, and snapping moves only what is within half a grid
    diagonal.
    """
    step = np.abs(np.diff(rings.xy, axis=0, append=rings.xy[-1:]))
    safe_edge = (step.min(axis=1, initial=np.inf) == 0) | ((step * step).sum(axis=1) < (1 / PRECISION_PX) ** 2)
    safe_edge[:-1] |= rings.ring_of[1:] != rings.ring_of[:-1]  # no edge leads from one ring to the next
    geometry_of_position = rings.geometry_of[rings.part_of[rings.ring_of]]
    bad = geometry_of_position[~(safe_edge & rings.is_whole)]
    unsafe: BoolArray = np.bincount(bad, minlength=rings.n_geometries) > 0
    return ~unsafe


def _snapping_problem(geometry: Any) -> str | None:
    try:
        snapped = shapely.set_precision(geometry, PRECISION_PX)
    except shapely.errors.GEOSException as err:
        return f"does not survive rounding to {PRECISION_PX} px ({err})"
    if snapped.is_empty or not snapped.is_valid or snapped.area == 0:
        return f"vanishes or breaks when rounded to {PRECISION_PX} px"
    return None
