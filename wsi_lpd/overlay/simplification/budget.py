"""The tolerance at which an overlay meets a limit on its vertices."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np
import shapely

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.overlay.simplification.simplify import AreaAccount
from wsi_lpd.overlay.tracing.joined import FinishedRegions
from wsi_lpd.overlay.tracing.outlines import Outline, trace_strips

logger = logging.getLogger(__name__)

_N_STEPS: Final = 8
_LEAST_TOLERANCE_PX: Final = 0.7
"""Smaller tolerances remove nothing: the smallest triangle of a staircase has an area of 1/2."""

Strips = Callable[[], Iterable[Strip]]
"""Returns a new iterator over the strips of a map, from top to bottom."""


class OutlineEffect(NamedTuple):
    """An outline setting and its effect on an overlay.

    Attributes:
        outline: The setting.
        n_vertices: Positions in the overlay, including those that close rings.
        area_error: Largest relative change in the area of a class.
    """

    outline: Outline
    n_vertices: int
    area_error: float


def outline_within(
    strips: Strips, outline: Outline, *, max_vertices: int, frame: GridFrame | None = None
) -> OutlineEffect:
    """The smallest tolerance, from `outline` on in steps of sqrt(2), at which an overlay has at most `max_vertices`.

    One pass over the map is enough if `outline` meets the limit; otherwise a binary search over the steps follows,
    whose passes end as soon as they exceed the limit. The limit on area changes applies to `outline` itself only. The
    log states the choice, and warns if even the last step (16 times the tolerance) has too many vertices; it is used
    then.

    Args:
        strips: As they will be traced: the result depends on the seams.
        outline: The requested setting, used if it meets the limit.
        max_vertices: Most positions of all rings, including those that close them.
        frame: As in `trace_strips`.
    """
    chosen = _counted(strips, outline, frame, max_vertices)
    if chosen.n_vertices > max_vertices:
        first_px = max(outline.tolerance_px, _LEAST_TOLERANCE_PX)
        steps = [Outline(first_px * 2 ** (k / 2), math.inf) for k in range(1, _N_STEPS + 1)]
        chosen = _finest_within(strips, steps, frame, max_vertices)
    summary = (
        f"{chosen.n_vertices} vertices with a tolerance of {chosen.outline.tolerance_px:.3g} px "
        f"(requested: {outline.tolerance_px:.3g}), area error {100 * chosen.area_error:.2g} %"
    )
    if chosen.n_vertices <= max_vertices:
        logger.info("at most %d vertices: %s", max_vertices, summary)
    else:
        logger.warning("the limit of %d vertices is exceeded: %s; raise --min-area", max_vertices, summary)
    return chosen


def _finest_within(strips: Strips, steps: list[Outline], frame: GridFrame | None, max_vertices: int) -> OutlineEffect:
    best, first, last = None, 0, len(steps) - 1
    while first <= last:
        middle = (first + last) // 2
        counted = _counted(strips, steps[middle], frame, max_vertices)
        if counted.n_vertices > max_vertices:
            first = middle + 1
        else:
            best, last = counted, middle - 1
    return _counted(strips, steps[-1], frame, math.inf) if best is None else best


def _counted(strips: Strips, outline: Outline, frame: GridFrame | None, max_vertices: float) -> OutlineEffect:
    """The effect of an outline setting; counting stops once the limit is exceeded."""
    account, n_vertices = AreaAccount(), 0
    for finished in trace_strips(strips(), frame=frame, outline=outline, account=account):
        n_vertices += count_vertices(finished)
        if n_vertices > max_vertices:
            break
    return OutlineEffect(outline, n_vertices, float(account.errors().max()))


def count_vertices(regions: FinishedRegions) -> int:
    """Positions of all rings, including those that close them."""
    return int(np.sum(shapely.get_num_coordinates(regions.polygons)))
