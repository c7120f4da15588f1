"""How coarse outlines must be for an overlay of a limited size."""

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
"""Just below that nothing goes: the smallest corner of a staircase has an area of 1/2."""

Strips = Callable[[], Iterable[Strip]]
"""Begins to hand out the strips of a map, from top to bottom; may be called again."""


class Fit(NamedTuple):
    """An outline and what comes of it.

    Attributes:
        outline: What to trace with.
        n_vertices: Positions of the overlay, with those that close a ring.
        area_error: Largest change of the area of a class, as a share of it.
    """

    outline: Outline
    n_vertices: int
    area_error: float


def outline_within(strips: Strips, outline: Outline, *, max_vertices: int, frame: GridFrame | None = None) -> Fit:
    """The finest outline, from `outline` on in steps of sqrt(2), with which an overlay has at most `max_vertices`.

    The map passes by once if `outline` fits; else the steps are halved until one is left, and a pass ends as soon as
    it is over the limit. The limit on the change of areas holds for `outline` itself only. The log says what was
    chosen, and warns if even the last step (a tolerance 16 times as large) has too many vertices: it is taken then.

    Args:
        strips: As they will be traced: the result holds for these seams.
        outline: What is wanted, and taken if it fits.
        max_vertices: Positions of all rings, with those that close them.
        frame: As in `trace_strips`.
    """
    chosen = _counted(strips, outline, frame, max_vertices)
    if chosen.n_vertices > max_vertices:
        first_px = max(outline.tolerance_px, _LEAST_TOLERANCE_PX)
        steps = [Outline(first_px * 2 ** (k / 2), math.inf) for k in range(1, _N_STEPS + 1)]
        chosen = _finest_fit(strips, steps, frame, max_vertices)
    summary = (
        f"{chosen.n_vertices} vertices with a tolerance of {chosen.outline.tolerance_px:.3g} px "
        f"(asked for: {outline.tolerance_px:.3g}), area error {100 * chosen.area_error:.2g} %"
    )
    if chosen.n_vertices <= max_vertices:
        logger.info("at most %d vertices: %s", max_vertices, summary)
    else:
        logger.warning("at most %d vertices cannot be had: %s; larger min_area helps", max_vertices, summary)
    return chosen


def _finest_fit(strips: Strips, steps: list[Outline], frame: GridFrame | None, max_vertices: int) -> Fit:
    best, first, last = None, 0, len(steps) - 1
    while first <= last:
        middle = (first + last) // 2
        counted = _counted(strips, steps[middle], frame, max_vertices)
        if counted.n_vertices > max_vertices:
            first = middle + 1
        else:
            best, last = counted, middle - 1
    return _counted(strips, steps[-1], frame, math.inf) if best is None else best


def _counted(strips: Strips, outline: Outline, frame: GridFrame | None, max_vertices: float) -> Fit:
    """What comes of an outline, as far as it was traced until it was over the limit."""
    account, n_vertices = AreaAccount(), 0
    for finished in trace_strips(strips(), frame=frame, outline=outline, account=account):
        n_vertices += count_vertices(finished)
        if n_vertices > max_vertices:
            break
    return Fit(outline, n_vertices, float(account.errors().max()))


def count_vertices(regions: FinishedRegions) -> int:
    """Positions of all rings, with those that close them."""
    return int(np.sum(shapely.get_num_coordinates(regions.polygons)))
