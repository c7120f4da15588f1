"""Fewer vertices, still without gap or overlap: a shared border is simplified once, for both its regions."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import numpy as np
import shapely

from wsi_lpd.overlay.trace import Polygons, Regions, moved, trace_background
from wsi_lpd.types import AnyArray, BoolArray

logger = logging.getLogger(__name__)

MAX_AREA_ERROR: Final = 0.005
"""Largest change of the area of a class, as a share of it."""

_ROUNDS: Final = 4


def simplify_regions(regions: Regions, tolerance_px: float) -> Regions:
    """Simplifies all borders together (Visvalingam-Whyatt); vertices are only dropped, never moved.

    The result is a valid coverage again and the area of each class changes by at most 0.5 %. Regions that would break
    that (a class of a few specks, for example) keep their exact outline, and the log says how many.

    Args:
        regions: As traced, or moved to level-0 pixels; not yet merged by class.
        tolerance_px: Square root of the area of the largest triangle that is cut off, in the unit of the polygons;
            0 changes nothing.
    """
    if tolerance_px == 0 or len(regions) == 0:
        return regions
    # With what lies between them, the regions cover the map: their outer borders are shared borders like any other.
    background = trace_background(regions)
    if regions.frame is not None:
        background = moved(background, regions.frame)
    exact = np.zeros(len(regions), dtype=bool)
    for attempt in range(_ROUNDS + 1):
        polygons = _simplified(regions.polygons, background, exact, tolerance_px)
        failed = _failures(regions, polygons, whole_class=attempt == _ROUNDS - 1) & ~exact
        if not failed.any():
            break
        exact |= failed
    else:
        polygons, exact = regions.polygons, np.ones(len(regions), dtype=bool)
    if exact.any():
        logger.info("simplification: %d of %d regions keep their exact outline", exact.sum(), len(regions))
    return replace(regions, polygons=polygons)


def _simplified(polygons: Polygons, background: Polygons, exact: BoolArray, tolerance_px: float) -> Polygons:
    """Simplifies all but the exact ones; what borders on an exact one keeps that border, as it has no other side."""
    cover = np.concatenate([polygons[~exact], background])
    result = polygons.copy()
    result[~exact] = shapely.coverage_simplify(cover, tolerance_px, simplify_boundary=False)[: int((~exact).sum())]
    return result


def _failures(regions: Regions, polygons: Polygons, *, whole_class: bool) -> BoolArray:
    """Regions that are broken, and of each class whose area changed too much those that changed too much."""
    before, after = shapely.area(regions.polygons), shapely.area(polygons)
    class_error = np.abs(_sums(regions, after) - _sums(regions, before)) / np.maximum(_sums(regions, before), 1e-300)
    class_failed = (class_error > MAX_AREA_ERROR)[regions.labels]
    changed = whole_class | (np.abs(after - before) > MAX_AREA_ERROR * before)
    broken: BoolArray = ~shapely.is_valid(polygons) | ~(after > 0)
    failed: BoolArray = broken | (class_failed & changed)
    return failed


def _sums(regions: Regions, areas: AnyArray) -> AnyArray:
    return np.bincount(regions.labels, weights=areas, minlength=256)
