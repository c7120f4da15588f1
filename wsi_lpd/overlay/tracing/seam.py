"""The seam between two strips: where outlines reach it, and how they continue.

Outlines run along pixel edges with their region on the right. A strip's own outlines are cut where they touch a seam;
their course along the seam depends on the labels on both sides and is followed here. Where only two diagonal pixels of
a label meet, outlines turn right, as if these were different regions; `rings.py` splits rings that touch themselves.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import shapely

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.tracing.trace import DOWN, LEFT, RIGHT, UP, Polygons, corners_placed, turns
from wsi_lpd.types import BACKGROUND, AnyArray, BoolArray, UInt8Array

_STEP: Final = {RIGHT: 1, LEFT: -1}


class Chain(NamedTuple):
    """A stretch of an outline between two places where it meets a seam.

    Attributes:
        points: Positions (n, 2), n >= 2, with the region on the right.
        region: Index of the region, in the list of the caller.
    """

    points: AnyArray
    region: int


class Link(NamedTuple):
    """The course of an outline along a seam.

    Attributes:
        points: Positions (n, 2) on the seam, from where the outline reaches it to where it leaves.
        goes_down: Whether the outline leaves downwards.
        is_straight: Whether the outline only crosses the seam, so that its point is not a corner of the label map.
    """

    points: AnyArray
    goes_down: bool
    is_straight: bool


class Seam:
    """The grid line between two rows of labels; everything beyond the map is background."""

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
        """Follows the outline that reaches the seam at `x`, going down or up, until it leaves the seam."""
        first = index = self._number[x]
        heading = self._turn[DOWN if down else UP][index]
        while heading in _STEP:
            index += _STEP[heading]
            heading = self._turn[heading][index]
        step = 1 if index >= first else -1
        passed = self.points[np.arange(first, index + step, step)]
        return Link(passed, heading == DOWN, bool(self._is_straight[first]))


class Cut(NamedTuple):
    """Outlines without their parts along the seams.

    Attributes:
        holes: Rings of each polygon that do not touch a seam, (n, 2) each, without a repeated position.
        chains: The stretches of all other rings between seams; their region is the index of the polygon.
    """

    holes: list[list[AnyArray]]
    chains: list[Chain]


def cut_at_seams(polygons: Polygons, top: float, bottom: float) -> Cut:
    """Removes the parts of outlines on the lines y = top and y = bottom.

    Args:
        polygons: Polygons as traced, with their interior to the right of their rings; each touches one of the lines.
        top: Upper line.
        bottom: Lower line.
    """
    cut = Cut([[] for _ in polygons], [])
    if len(polygons) == 0:
        return cut
    _, closed, (ring_ends, polygon_ends) = shapely.to_ragged_array(polygons)
    owner = np.repeat(np.arange(len(polygons)), np.diff(polygon_ends)).tolist()
    rings = np.split(closed, ring_ends[1:-1])
    y = closed[:, 1]
    along = np.append(((y[:-1] == top) | (y[:-1] == bottom)) & (y[:-1] == y[1:]), False)
    along[ring_ends[1:] - 1] = False  # no edge leads from one ring to the next
    first_along = np.full(len(rings), -1)
    edges = np.flatnonzero(along)
    ring_of_edge = np.searchsorted(ring_ends, edges, side="right") - 1
    first_along[ring_of_edge[::-1]] = (edges - ring_ends[ring_of_edge])[::-1]
    for number, (ring, start, first) in enumerate(zip(rings, ring_ends.tolist(), first_along.tolist(), strict=False)):
        if first < 0:
            cut.holes[owner[number]].append(ring[:-1])
        else:
            left_out = along[start : start + len(ring) - 1]
            cut.chains.extend(Chain(points, owner[number]) for points in _stretches(ring, left_out, first))
    return cut


def _stretches(ring: AnyArray, left_out: BoolArray, first: int) -> list[AnyArray]:
    """The remaining stretches of a closed ring without some of its edges; edge i leads from point i to the next.

    `first` is the first omitted edge.
    """
    ring = np.concatenate([ring[first:-1], ring[: first + 1]])
    kept = np.concatenate([~left_out[first:], ~left_out[:first], [False]])
    changes = np.flatnonzero(kept[1:] != kept[:-1]) + 1
    return [ring[start : end + 1] for start, end in zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True)]
