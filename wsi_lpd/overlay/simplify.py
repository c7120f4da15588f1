"""Fewer vertices, still without gap or overlap: a shared border is simplified once, for both its regions."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
import shapely

from wsi_lpd.overlay.trace import Polygons, Regions, trace_background
from wsi_lpd.types import AnyArray, BoolArray

logger = logging.getLogger(__name__)

MAX_AREA_ERROR: Final = 0.005
"""Largest change of the area of a class, as a share of it."""

_ROUNDS: Final = 4


@dataclass
class AreaAccount:
    """Areas by label before and after simplification, over all strips of a map so far; frame of the polygons."""

    before: AnyArray = field(default_factory=lambda: np.zeros(256))
    after: AnyArray = field(default_factory=lambda: np.zeros(256))

    def add(self, before: AnyArray, after: AnyArray) -> None:
        """Books one more strip."""
        self.before += before
        self.after += after

    def errors(self, before: AnyArray | float = 0.0, after: AnyArray | float = 0.0) -> AnyArray:
        """Change of the area of each label as a share of it (256,), as it would be with one more strip."""
        whole = self.before + before
        errors: AnyArray = np.abs(self.after + after - whole) / np.maximum(whole, 1e-300)
        return errors


class Draft(NamedTuple):
    """What a first try makes of regions, before anybody looks at what it did to the areas.

    Attributes:
        polygons: Simplified, (N,).
        background: What lies between the regions, exact.
    """

    polygons: Polygons
    background: Polygons


def draft(regions: Regions, tolerance_px: float) -> Draft | None:
    """The costly part of `simplify_regions`, which needs no account: strips may do it at the same time.

    None where there is nothing to do.
    """
    if tolerance_px == 0 or len(regions) == 0:
        return None
    # With what lies between them, the regions cover the map: their outer borders are shared borders like any other.
    background = trace_background(regions)
    none_exact = np.zeros(len(regions), dtype=bool)
    return Draft(_simplified(regions.polygons, background, none_exact, tolerance_px), background)


def simplify_regions(
    regions: Regions,
    tolerance_px: float,
    *,
    account: AreaAccount | None = None,
    max_area_error: float = MAX_AREA_ERROR,
    drafted: Draft | None = None,
) -> Regions:
    """Simplifies all borders together (Visvalingam-Whyatt); vertices are only dropped, never moved.

    The result is a valid coverage again and the area of each class changes by at most `max_area_error`. Regions that
    would break that (a class of a few specks, for example) keep their exact outline, and the log says how many. The
    edge of the map, or of the strip that the regions were traced on, stays as it was.

    Args:
        regions: As traced, or placed in level-0 pixels; not yet merged by class.
        tolerance_px: Square root of the area of the largest triangle that is cut off, in the unit of the polygons;
            0 changes nothing.
        account: Of the strips above, which count when the change of area is judged; this one is added.
        max_area_error: Largest change of the area of a class, as a share of it.
        drafted: Of `draft` with the same regions and tolerance; None makes it here.
    """
    sheet = AreaAccount() if account is None else account
    before = _sums(regions, shapely.area(regions.polygons))
    first = draft(regions, tolerance_px) if drafted is None else drafted
    if first is None:
        sheet.add(before, before)
        return regions
    exact, polygons = np.zeros(len(regions), dtype=bool), first.polygons
    for attempt in range(_ROUNDS + 1):
        if attempt:
            polygons = _simplified(regions.polygons, first.background, exact, tolerance_px)
        after = _sums(regions, shapely.area(polygons))
        too_much = sheet.errors(before, after) > max_area_error
        failed = _failures(regions, polygons, too_much, whole_class=attempt == _ROUNDS - 1) & ~exact
        if not failed.any():
            break
        exact |= failed
    else:
        polygons, exact, after = regions.polygons, np.ones(len(regions), dtype=bool), before
    sheet.add(before, after)
    if exact.any():
        logger.info("simplification: %d of %d regions keep their exact outline", exact.sum(), len(regions))
    return replace(regions, polygons=polygons)


def _simplified(polygons: Polygons, background: Polygons, exact: BoolArray, tolerance_px: float) -> Polygons:
    """Simplifies all but the exact ones; what borders on an exact one keeps that border, as it has no other side."""
    cover = np.concatenate([polygons[~exact], background])
    result = polygons.copy()
    result[~exact] = shapely.coverage_simplify(cover, tolerance_px, simplify_boundary=False)[: int((~exact).sum())]
    return result


def _failures(regions: Regions, polygons: Polygons, too_much: BoolArray, *, whole_class: bool) -> BoolArray:
    """Regions that are broken, and those that changed too much, or all, of labels that changed too much (256,)."""
    before, after = shapely.area(regions.polygons), shapely.area(polygons)
    changed = whole_class | (np.abs(after - before) > MAX_AREA_ERROR * before)
    broken: BoolArray = ~shapely.is_valid(polygons) | ~(after > 0)
    failed: BoolArray = broken | (too_much[regions.labels] & changed)
    return failed


def _sums(regions: Regions, areas: AnyArray) -> AnyArray:
    return np.bincount(regions.labels, weights=areas, minlength=256)
