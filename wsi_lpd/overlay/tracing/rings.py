"""Joins chains into rings, and rings into polygons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import shapely

from wsi_lpd.overlay.tracing.seam import Chain, Link, Seam
from wsi_lpd.overlay.tracing.trace import Polygons
from wsi_lpd.types import AnyArray

_Followers = Mapping[int, tuple[Link, int]]
"""For chains that end on a seam: the link that follows, and the number of the next chain."""


def connect(above: Sequence[Chain], below: Sequence[Chain], seam: Seam) -> tuple[list[Chain], list[Chain]]:
    """Connects the chains of both sides of a seam.

    Args:
        above: Chains that start and end on the seam.
        below: Chains of the strip below; those that do not touch the seam are not changed.
        seam: The seam between them.

    Returns:
        Rings (closed chains without a repeated position), and chains that start and end on the next seam. Each has the
        region of one of its parts.
    """
    chains = [*above, *below]
    followers = _followers(chains, len(above), seam)
    led_to = {target for _, target in followers.values()}
    paths = [list(_path(first, followers)) for first in range(len(chains)) if first not in led_to]
    unvisited = set(range(len(chains))).difference(*paths)
    rings = []
    while unvisited:
        path = list(_path(min(unvisited), followers))
        unvisited.difference_update(path)
        points = _without_ends(chains, [*path, path[0]], followers)
        rings.append(Chain(np.concatenate(points), chains[path[0]].region))
    return rings, [_open_chain(chains, path, followers) for path in paths]


def _followers(chains: Sequence[Chain], n_above: int, seam: Seam) -> _Followers:
    if len(seam.points) == 0:
        return {}
    y = seam.points[0, 1]
    starts = {(n >= n_above, float(c.points[0, 0])): n for n, c in enumerate(chains) if c.points[0, 1] == y}
    followers = {}
    for number, chain in enumerate(chains):
        if chain.points[-1, 1] == y:
            link = seam.follow(float(chain.points[-1, 0]), down=number < n_above)
            followers[number] = link, starts[link.goes_down, float(link.points[-1, 0])]
    return followers


def _path(first: int, followers: _Followers) -> Iterator[int]:
    """The numbers of consecutive chains, to the end or once around."""
    number = first
    yield number
    while number in followers and (number := followers[number][1]) != first:
        yield number


def _open_chain(chains: Sequence[Chain], path: list[int], followers: _Followers) -> Chain:
    first, last = chains[path[0]], chains[path[-1]]
    if len(path) == 1:
        return first
    middle = _without_ends(chains, path, followers)
    points = [first.points[:1], *middle, last.points[1:-1], last.points[-1:]]
    return Chain(np.concatenate(points), first.region)


def _without_ends(chains: Sequence[Chain], path: list[int], followers: _Followers) -> list[AnyArray]:
    """The inner points of every chain of a path except the last, each followed by the seam's points to the next chain.

    A point where an outline only crosses the seam is dropped if it lies on a straight line. Both regions of the outline
    see the same neighbours of the point, so they agree.
    """
    points = []
    for number, next_number in pairwise(path):
        chain, following = chains[number].points, chains[next_number].points
        link = followers[number][0]
        points.append(chain[1:-1])
        if not (link.is_straight and _is_between(chain[-2], link.points[0], following[1])):
            points.append(link.points)
    return points


def _is_between(before: AnyArray, point: AnyArray, after: AnyArray) -> bool:
    (ax, ay), (bx, by) = point - before, after - point
    return bool(ax * by == ay * bx)


class RegionRings(NamedTuple):
    """All rings of a region, (n, 2) each, without a repeated position.

    Attributes:
        closed: The shell and possibly holes; a ring may touch itself.
        holes: Rings that are certainly holes and do not touch themselves.
    """

    closed: Sequence[AnyArray]
    holes: Sequence[AnyArray] = ()


def polygons_of(regions: Sequence[RegionRings]) -> Polygons:
    """The polygons, with holes, of regions given by their rings."""
    if not regions:
        return np.empty(0, dtype=object)
    rings = [_shell_first(region) for region in regions]
    flat = [ring for own in rings for ring in own]
    points = np.concatenate([part for ring in flat for part in (ring, ring[:1])])
    ring_ends = np.cumsum([0, *(len(ring) + 1 for ring in flat)])
    polygon_ends = np.cumsum([0, *map(len, rings)])
    polygons: Polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (ring_ends, polygon_ends))
    return polygons


def _shell_first(region: RegionRings) -> list[AnyArray]:
    apart = [part for ring in region.closed for part in apart_at_touches(ring) if len(part) > 2]
    areas = [_signed_area(ring) for ring in apart] if len(apart) > 1 else [1.0]
    largest = areas.index(max(areas))
    return [apart[largest], *apart[:largest], *apart[largest + 1 :], *region.holes]


def _signed_area(ring: AnyArray) -> float:
    """Twice the area; positive for a ring whose region is inside."""
    x, y = ring.T
    return float(x[:-1] @ y[1:] - y[:-1] @ x[1:] + x[-1] * y[0] - y[-1] * x[0])


def apart_at_touches(ring: AnyArray) -> list[AnyArray]:
    """Splits a ring (n, 2) of integer positions at every position it passes twice, where it would be invalid."""
    x, y = ring.astype(np.int64).T
    places = (x << 32) + y
    if len(np.unique(places)) == len(ring):
        return [ring]
    _, place, count = np.unique(places, return_inverse=True, return_counts=True)
    apart: list[AnyArray] = []
    entered: dict[int, int] = {}
    stack: list[int] = []
    for index, point in enumerate(place.tolist()):
        if point in entered:
            start = entered[point]
            part = stack[start:]
            apart.append(ring[part])
            for other in part:
                entered.pop(int(place[other]), None)
            del stack[start:]
        if count[point] > 1:
            entered[point] = len(stack)
        stack.append(index)
    return [*apart, ring[stack]]
