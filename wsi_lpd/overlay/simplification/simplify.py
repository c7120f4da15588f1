"""Fewer vertices, still without gap or overlap: a shared border is simplified once, for both its regions."""

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
"""Largest change of the area of a class, as a share of it."""

_ROUNDS: Final = 4

_MAX_CLEARANCE_PX: Final = 0.5
"""More would keep the steps of a diagonal border, which are 0.7 px apart. So maps of less than 2.8 level-0 pixels per
pixel are not quite safe from corners that rounding moves, and what it breaks keeps its exact outline."""


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
        rings: Of the regions, and of what lies between them.
        kept: Which vertices are left (V,).
        polygons: With these vertices, (N + M,): the regions first.
        broken: Whether each is no valid polygon, (N + M,).
    """

    rings: Rings
    kept: BoolArray
    polygons: Polygons
    broken: BoolArray


def draft(regions: Regions, tolerance_px: float) -> Draft | None:
    """The costly part of `simplify_regions`, which needs no account: strips may do it at the same time.

    None where there is nothing to do.

    Raises:
        ValueError: If the background of the regions was not traced.
    """
    if tolerance_px == 0 or len(regions) == 0:
        return None
    if regions.background is None:
        raise ValueError("regions are simplified together with what lies between them: trace that too")
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
    """Simplifies all borders together (Visvalingam-Whyatt); vertices are only dropped, never moved.

    The result is a valid coverage again and the area of each class changes by at most `max_area_error`. Regions that
    would break that (a class of a few specks, for example) keep their exact outline, and the log says how many. The
    edge of the map, or of the strip that the regions were traced on, stays as it was.

    Args:
        regions: As traced with their background, or placed in level-0 pixels; not yet merged by class.
        tolerance_px: Square root of the area of the largest triangle that is cut off, in pixels of the label map;
            0 changes nothing.
        account: Of the strips above, which count when the change of area is judged; this one is added.
        max_area_error: Largest change of the area of a class, as a share of it.
        drafted: Of `draft` with the same regions and tolerance; None makes it here.
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
    """Label-map pixels by which a corner and an edge may come nearer when corners go to whole level-0 pixels."""
    scales = (1.0, 1.0) if frame is None else (frame.downsample_x, frame.downsample_y)
    if all(scale == round(scale) for scale in scales):
        return 0.0
    return min(math.sqrt(2) / min(scales), _MAX_CLEARANCE_PX)


def _broken(polygons: Polygons) -> BoolArray:
    broken: BoolArray = ~shapely.is_valid(polygons)
    return broken


def _sums(regions: Regions, areas: AnyArray) -> AnyArray:
    return np.bincount(regions.labels, weights=areas, minlength=256)
