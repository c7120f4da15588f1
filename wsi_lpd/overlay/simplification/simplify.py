"""Simplifies outlines without gaps or overlaps: a shared border is simplified once for both regions."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
import shapely

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.simplification.visvalingam import kept_vertices
from wsi_lpd.overlay.tracing.outline_rings import Rings, rings_of
from wsi_lpd.overlay.tracing.trace import Polygons, Regions
from wsi_lpd.types import AnyArray, BoolArray

logger = logging.getLogger(__name__)

MAX_AREA_ERROR: Final = 0.005
"""Largest relative change in the area of a class."""

_ROUNDS: Final = 4

_MAX_CLEARANCE_PX: Final = 0.5
"""A larger value would preserve the steps of diagonal borders, which are 0.7 px apart. Hence in maps of less than 2.8
level-0 pixels per pixel, rounding may break a polygon; such a polygon keeps its exact outline."""


@dataclass
class AreaAccount:
    """Areas by label before and after simplification, over all strips of a map so far; frame of the polygons."""

    before: AnyArray = field(default_factory=lambda: np.zeros(256))
    after: AnyArray = field(default_factory=lambda: np.zeros(256))

    def add(self, before: AnyArray, after: AnyArray) -> None:
        """Adds a strip."""
        self.before += before
        self.after += after

    def errors(self, before: AnyArray | float = 0.0, after: AnyArray | float = 0.0) -> AnyArray:
        """Relative change in the area of each label (256,), as it would be with one more strip."""
        whole = self.before + before
        errors: AnyArray = np.abs(self.after + after - whole) / np.maximum(whole, 1e-300)
        return errors


class Draft(NamedTuple):
    """Simplified regions before the check of their areas.

    Attributes:
        rings: Rings of the regions and of the background between them.
        kept: Whether each vertex is kept (V,).
        polygons: Polygons of the kept vertices, (N + M,), the regions first.
        broken: Whether each polygon is invalid, (N + M,).
    """

    rings: Rings
    kept: BoolArray
    polygons: Polygons
    broken: BoolArray


def draft(regions: Regions, tolerance_px: float) -> Draft | None:
    """The expensive part of `simplify_regions`, which is independent of other strips and can run concurrently.

    Returns None if there is nothing to do.

    Raises:
        ValueError: If the background of the regions was not traced.
    """
    if tolerance_px == 0 or len(regions) == 0:
        return None
    if regions.background is None:
        raise ValueError("the regions were traced without their background; trace them with background=True")
    cover = np.concatenate([regions.polygons, regions.background])
    rings = rings_of(cover, regions.components.shape, regions.frame, regions.top)
    kept = kept_vertices(rings.borders(), tolerance_px, clearance_px=_clearance(regions.frame))
    polygons = rings.polygons(kept)
    return Draft(rings, kept, polygons, _broken(polygons))


def simplify_regions(
    regions: Regions,
    tolerance_px: float,
    *,
    account: AreaAccount | None = None,
    max_area_error: float = MAX_AREA_ERROR,
    drafted: Draft | None = None,
) -> Regions:
    """Simplifies all borders together (Visvalingam-Whyatt); vertices are only removed, never moved.

    The result is a valid coverage again, and the area of each class changes by at most `max_area_error`. Regions that
    would violate this (a class of a few specks, for example) keep their exact outline, and the log states how many. The
    edge of the map or strip on which the regions were traced is not changed.

    Args:
        regions: As traced with their background, or placed in level-0 pixels; not yet merged by class.
        tolerance_px: Square root of the area of the largest triangle that is removed, in label-map pixels; 0 changes
            nothing.
        account: Areas of the strips above, included when the change in area is checked; this strip is added.
        max_area_error: Largest relative change in the area of a class.
        drafted: Result of `draft` for the same regions and tolerance; None computes it here.
    """
    sheet = AreaAccount() if account is None else account
    before = shapely.area(regions.polygons)
    first = draft(regions, tolerance_px) if drafted is None else drafted
    if first is None:
        sheet.add(_sums(regions, before), _sums(regions, before))
        return regions
    exact = np.zeros(len(first.polygons), dtype=bool)
    polygons, broken = first.polygons, first.broken
    for attempt in range(_ROUNDS + 1):
        after = shapely.area(polygons[: len(regions)])
        too_much = sheet.errors(_sums(regions, before), _sums(regions, after)) > max_area_error
        changed = (np.abs(after - before) > MAX_AREA_ERROR * before) | (attempt == _ROUNDS - 1)
        failed = broken.copy()
        failed[: len(regions)] |= too_much[regions.labels] & changed
        failed &= ~exact
        if not failed.any():
            break
        exact |= failed if attempt < _ROUNDS else True
        polygons = first.rings.polygons(first.kept | first.rings.vertices_of(exact))
        broken = _broken(polygons)
    sheet.add(_sums(regions, before), _sums(regions, after))
    if (n_exact := exact[: len(regions)].sum()) > 0:
        logger.info("simplification: %d of %d regions keep their exact outline", n_exact, len(regions))
    return replace(regions, polygons=polygons[: len(regions)], background=None)


def _clearance(frame: GridFrame | None) -> float:
    """The distance in label-map pixels by which rounding to level-0 pixels may bring a corner closer to an edge."""
    scales = (1.0, 1.0) if frame is None else (frame.downsample_x, frame.downsample_y)
    if all(scale == round(scale) for scale in scales):
        return 0.0
    return min(math.sqrt(2) / min(scales), _MAX_CLEARANCE_PX)


def _broken(polygons: Polygons) -> BoolArray:
    broken: BoolArray = ~shapely.is_valid(polygons)
    return broken


def _sums(regions: Regions, areas: AnyArray) -> AnyArray:
    return np.bincount(regions.labels, weights=areas, minlength=256)
