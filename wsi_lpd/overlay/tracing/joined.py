"""Joins the regions of consecutive strips along the seams; holds only those that a later strip can extend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.tracing.measure import Tally
from wsi_lpd.overlay.tracing.rings import RegionRings, connect, polygons_of
from wsi_lpd.overlay.tracing.seam import Chain, Seam, cut_at_seams
from wsi_lpd.overlay.tracing.trace import Polygons, Regions, corners_placed
from wsi_lpd.types import AnyArray, Int64Array, UInt8Array


@dataclass(frozen=True)
class FinishedRegions:
    """Complete regions of a map, in no particular order.

    Attributes:
        polygons: Shapely polygons (N,) with holes.
        labels: Label of each, uint8 (N,).
        tally: Counts over their pixels.
    """

    polygons: Polygons
    labels: UInt8Array
    tally: Tally

    def __len__(self) -> int:
        return len(self.polygons)

    def followed_by(self, other: FinishedRegions) -> FinishedRegions:
        """The regions of both, one after the other."""
        polygons = np.concatenate([self.polygons, other.polygons])
        labels = np.concatenate([self.labels, other.labels])
        return FinishedRegions(polygons, labels, self.tally.followed_by(other.tally))


@dataclass
class _Open:
    """Regions that reach the lower seam, and the labels along it.

    Attributes:
        labels: (M,).
        tally: Counts over all their pixels up to the seam.
        rings: Rings of each that were closed at a seam.
        holes: Rings of each that no seam cuts.
        chains: Open chains, which start and end on the seam.
        row: Number of the region + 1 in the row above the seam, 0 where there is none, (W,).
    """

    labels: UInt8Array
    tally: Tally
    rings: list[list[AnyArray]]
    holes: list[list[AnyArray]]
    chains: list[Chain]
    row: Int64Array

    def label_row(self) -> UInt8Array:
        return _painted(self.labels, self.row)


class RegionJoiner:
    """Takes the regions of each strip and returns those that are complete."""

    def __init__(self, *, frame: GridFrame | None = None) -> None:
        """`frame` is the frame of the regions to come."""
        self._frame = frame
        self._row = 0
        self._open: _Open | None = None

    def add(self, regions: Regions, tally: Tally) -> FinishedRegions:
        """Adds the regions of the next strip, exact or simplified; both its seams must be as traced."""
        first, last = (regions.components[row].astype(np.int64) for row in (0, -1))
        touching = np.zeros(len(regions) + 1, dtype=bool)
        touching[first] = touching[last] = True
        touching[0] = False  # no region
        number = np.where(touching, np.cumsum(touching), 0)
        whole, touches = ~touching[1:], touching[1:]
        at_once = FinishedRegions(regions.polygons[whole], regions.labels[whole], tally.of(whole))
        bottom = regions.top + regions.components.shape[0]
        lines = corners_placed(np.array([[0, self._row], [0, bottom]]), self._frame)[:, 1].tolist()
        holes, chains = cut_at_seams(regions.polygons[touches], *lines)
        none_closed: list[list[AnyArray]] = [[] for _ in holes]
        pieces = _Open(regions.labels[touches], tally.of(touches), none_closed, holes, chains, number[last])
        return at_once.followed_by(self._joined(pieces, number[first], bottom))

    def finish(self) -> FinishedRegions | None:
        """Closes the lower edge of the map; None if there was no strip."""
        if self._open is None:
            return None
        nothing = np.zeros(len(self._open.row), dtype=np.int64)
        none = _Open(self._open.labels[:0], self._open.tally.of(slice(0)), [], [], [], nothing)
        return self._joined(none, nothing, self._row)

    def _joined(self, pieces: _Open, first_row: Int64Array, bottom: int) -> FinishedRegions:
        """Joins the pieces of a strip to the held ones; `first_row` is `pieces.row` for the strip's first row."""
        held = self._open
        if held is None:
            held = _Open(pieces.labels[:0], pieces.tally.of(slice(0)), [], [], [], np.zeros_like(first_row))
        n_held = len(held.labels)
        below = _painted(pieces.labels, first_row)
        seam = Seam(held.label_row(), below, row=self._row, frame=self._frame)
        meets = (held.label_row() == below) & (held.row > 0)
        group = _groups(held.row[meets] - 1, first_row[meets] - 1 + n_held, n_held + len(pieces.labels))
        shifted = [Chain(chain.points, chain.region + n_held) for chain in pieces.chains]
        closed, still_open = connect(held.chains, shifted, seam)
        n_groups = int(group.max(initial=-1)) + 1
        rings = _gathered([*held.rings, *pieces.rings], group, n_groups)
        for chain in closed:
            rings[group[chain.region]].append(chain.points)
        labels = np.zeros(n_groups, dtype=np.uint8)
        labels[group] = np.concatenate([held.labels, pieces.labels])
        joined = _Open(
            labels,
            held.tally.followed_by(pieces.tally).summed(group, n_groups),
            rings,
            _gathered([*held.holes, *pieces.holes], group, n_groups),
            [Chain(chain.points, int(group[chain.region])) for chain in still_open],
            _renumbered(pieces.row, group[n_held:] + 1),
        )
        self._row = bottom
        finished, self._open = _parted(joined)
        return finished


def _parted(joined: _Open) -> tuple[FinishedRegions, _Open]:
    """The regions that do not reach the lower seam, as polygons, and the others."""
    is_open = np.zeros(len(joined.labels) + 1, dtype=bool)
    is_open[joined.row] = True
    is_open = is_open[1:]
    done = np.flatnonzero(~is_open)
    polygons = polygons_of([RegionRings(joined.rings[number], joined.holes[number]) for number in done.tolist()])
    new = np.cumsum(is_open) - 1
    held = _Open(
        joined.labels[is_open],
        joined.tally.of(is_open),
        [joined.rings[number] for number in np.flatnonzero(is_open).tolist()],
        [joined.holes[number] for number in np.flatnonzero(is_open).tolist()],
        [Chain(chain.points, int(new[chain.region])) for chain in joined.chains],
        _renumbered(joined.row, new + 1),
    )
    return FinishedRegions(polygons, joined.labels[done], joined.tally.of(done)), held


def _gathered(rings: list[list[AnyArray]], group: AnyArray, n_groups: int) -> list[list[AnyArray]]:
    """The rings of all regions of each group."""
    result: list[list[AnyArray]] = [[] for _ in range(n_groups)]
    for number, own in zip(group.tolist(), rings, strict=True):
        result[number] += own
    return result


def _painted(labels: UInt8Array, row: Int64Array) -> UInt8Array:
    return np.concatenate([np.zeros(1, dtype=np.uint8), labels])[row]


def _renumbered(row: Int64Array, new: AnyArray) -> Int64Array:
    """Maps each number i + 1 of a row to `new[i]`; 0 stays."""
    result: Int64Array = np.concatenate([np.zeros(1, dtype=np.int64), new.astype(np.int64)])[row]
    return result


def _groups(upper: Int64Array, lower: Int64Array, n: int) -> NDArray[np.int32]:
    links = coo_matrix((np.ones(len(upper), dtype=np.int8), (upper, lower)), shape=(n, n))
    result: NDArray[np.int32] = connected_components(links.tocsr(), directed=False)[1]
    return result
