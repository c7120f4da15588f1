"""The line between two strips: where outlines reach it, and how they go on.

Outlines run along pixel edges with their region on the right hand. A strip's own outlines are cut where they touch a
seam; what runs along the seam depends on the labels on both sides and is followed here. All corners turn to the right
where only two diagonal pixels of a label meet, as if these were different regions; `joined.py` mends rings that meet
themselves.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.trace import DOWN, LEFT, RIGHT, UP, corners_placed, turns
from wsi_lpd.types import BACKGROUND, AnyArray, BoolArray, UInt8Array

_STEP: Final = {RIGHT: 1, LEFT: -1}


class Chain(NamedTuple):
    """A stretch of an outline between two places where it meets a seam.

    Attributes:
        points: Positions (n, 2), n >= 2, with the region on the right hand.
        region: Number of the region, counted by whoever holds the chain.
    """

    points: AnyArray
    region: int


class Link(NamedTuple):
    """How an outline that reaches a seam goes on.

    Attributes:
        points: Positions (n, 2) on the seam, from where it is reached to where it is left.
        goes_down: Whether it is left downward.
        is_straight: The outline only crosses the seam: the one point is no corner of the label map.
    """

    points: AnyArray
    goes_down: bool
    is_straight: bool


class Seam:
    """The grid line between two rows of labels; beyond the map all is background."""

    def __init__(self, above: UInt8Array, below: UInt8Array, *, row: int, frame: GridFrame | None) -> None:
        """`above` and `below` are labels (W,), with background for 255; `row` is the grid line in the whole map."""
        rows = np.pad(np.stack([above, below]), ((0, 0), (1, 1)), constant_values=BACKGROUND)
        corners = np.flatnonzero((rows[:, 1:] != rows[:, :-1]).any(axis=0))
        (nw, sw), (ne, se) = rows[:, corners], rows[:, corners + 1]
        self.points = corners_placed(np.stack([corners, np.full_like(corners, row)], axis=1), frame)
        self._number = {float(x): index for index, x in enumerate(self.points[:, 0])}
        self._turn = {
            RIGHT: turns(RIGHT, own=sw, ahead_right=se, ahead_left=ne, joined=False).tolist(),
            DOWN: turns(DOWN, own=nw, ahead_right=sw, ahead_left=se, joined=False).tolist(),
            LEFT: turns(LEFT, own=ne, ahead_right=nw, ahead_left=sw, joined=False).tolist(),
            UP: turns(UP, own=se, ahead_right=ne, ahead_left=nw, joined=False).tolist(),
        }
        self._is_straight = (nw == sw) & (ne == se)

    def follow(self, x: float, *, down: bool) -> Link:
        """Follows the outline that reaches the seam at `x`, downward or upward, until it leaves it."""
        first = index = self._number[x]
        heading = self._turn[DOWN if down else UP][index]
        while heading in _STEP:
            index += _STEP[heading]
            heading = self._turn[heading][index]
        step = 1 if index >= first else -1
        passed = self.points[np.arange(first, index + step, step)]
        return Link(passed, heading == DOWN, bool(self._is_straight[first]))


def cut_at_seams(polygon: shapely.Polygon, top: float, bottom: float) -> tuple[list[AnyArray], list[AnyArray]]:
    """Takes what lies on the lines y = top and y = bottom out of an outline.

    Returns:
        The rings that never run along a seam, (n, 2) each, not closed by a repeated position; and the stretches between
        seams of the others.
    """
    rings, chains = [], []
    for ring in shapely.get_rings(shapely.orient_polygons(polygon)):
        points = shapely.get_coordinates(ring)[:-1]
        y, following = points[:, 1], np.roll(points[:, 1], -1)
        on_seam = ((y == top) | (y == bottom)) & (y == following)
        if on_seam.any():
            chains += _stretches(points, on_seam)
        else:
            rings.append(points)
    return rings, chains


def _stretches(points: AnyArray, left_out: BoolArray) -> list[AnyArray]:
    """What is left of a ring without some of its edges; edge i leads from point i to the next."""
    first = int(left_out.argmax())
    points, kept = np.roll(points, -first, axis=0), ~np.roll(left_out, -first)  # now edge 0 is left out
    change = np.diff(np.concatenate([kept, [False]]).astype(np.int8))
    starts: NDArray[np.int64] = np.flatnonzero(change == 1) + 1
    ends = np.flatnonzero(change == -1) + 1
    points = np.concatenate([points, points[:1]])
    return [points[start : end + 1] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
