"""Merges small regions into a neighbour, strip by strip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wsi_lpd.overlay.raster.label_strips import LabelStrips
from wsi_lpd.overlay.tracing.components import Components, label_components
from wsi_lpd.types import BACKGROUND, IGNORE, AnyArray, BoolArray, Float64Array, Int64Array, UInt8Array

_SCATTER: Final = 2_654_435_761  # odd, near 2^32 / golden ratio: multiplying by it scatters neighbouring numbers
MAX_HELD_ROWS: Final = 4096
"""Most rows that a sieve holds for clusters of small regions."""


def sieved(
    strips: LabelStrips, min_area_px: float, *, min_hole_px: float | None = None, max_rows: int = MAX_HELD_ROWS
) -> Iterator[UInt8Array]:
    """Gives every region smaller than `min_area_px` the label with which it shares the longest border.

    Regions of label 0 (glass) count as holes and have their own minimum area; 255 is neither changed nor extended.
    Smaller regions are merged first, and later merges see the result; of equally long borders the lower label wins. A
    small region whose only neighbour is 255 stays.

    The result does not depend on the height of the strips. See `Sieve` for memory and guarantees.

    Args:
        strips: The map, which is not modified.
        min_area_px: Minimum area of a region that stays, in label-map pixels.
        min_hole_px: Minimum area of a hole that stays; None = `min_area_px`.
        max_rows: As in `Sieve`.

    Yields:
        The rows of the result as soon as they are final, in strips of other heights.
    """
    sieve = Sieve(min_area_px, min_hole_px=min_hole_px, max_rows=max_rows)
    for strip in strips:
        done = sieve.add(strip)
        if len(done):
            yield done
    rest = sieve.finish()
    if len(rest):
        yield rest


class Sieve:
    """Merges small regions in rows that arrive from top to bottom; see `sieved`.

    The neighbour that a small region is merged into depends on the small regions it touches, directly or through others
    (a cluster), and on the labels around the cluster; of a large region only the label counts. So rows are returned as
    soon as none of their clusters reaches the latest row, and the result equals that of the whole map at once. Only a
    cluster higher than `max_rows` (noise; a tissue map has none) is cut: its part that touches the latest row keeps its
    label, so there the result depends on the strips.
    """

    def __init__(self, min_area_px: float, *, min_hole_px: float | None = None, max_rows: int = MAX_HELD_ROWS) -> None:
        self._least_px = np.full(256, min_area_px, np.float64)
        self._least_px[BACKGROUND] = min_area_px if min_hole_px is None else min_hole_px
        self._least_px[IGNORE] = 0
        self._max_rows = max_rows
        self._rows = np.zeros((0, 0), dtype=np.uint8)
        self._top = 0
        self._first_row_is_settled = False

    def add(self, rows: UInt8Array) -> UInt8Array:
        """Adds rows (n, W) below the earlier ones and returns the rows that are final, uint8 (m, W), m >= 0."""
        held = np.concatenate([self._rows, rows]) if len(self._rows) else rows
        if not self._is_at_work or held.size == 0:
            return self._hand_out(held, len(held))
        found = label_components(held)
        edges = _edges_between(found)
        waiting = self._waiting(found, edges)
        if waiting.any() and len(held) > self._max_rows:
            waiting = np.zeros_like(waiting)
        # Hold one more row, since adjacent regions may take its label.
        first = int(found.first[waiting].min(initial=held.size)) // held.shape[1]
        merged = self._merged(found, edges, fixed=waiting | self._reaches_down(found))
        return self._hand_out(merged, max(first - 1, 0))

    def finish(self) -> UInt8Array:
        """Returns all remaining rows; no rows may be added after it."""
        held = self._rows
        if self._is_at_work and held.size:
            found = label_components(held)
            nothing = np.zeros(len(found.labels), dtype=bool)
            held = self._merged(found, _edges_between(found), fixed=nothing)
        return self._hand_out(held, len(held))

    @property
    def _is_at_work(self) -> bool:
        return bool(self._least_px.max() > 1)

    def _hand_out(self, held: UInt8Array, count: int) -> UInt8Array:
        self._rows = held[count:]
        self._top += count
        self._first_row_is_settled |= count > 0
        return held[:count]

    def _settled(self, found: Components) -> BoolArray:
        """Regions that are large or reach into rows already returned."""
        settled: BoolArray = found.areas_px >= self._least_px[found.labels]
        if self._first_row_is_settled:
            settled[found.in_row(0)] = True
        return settled

    def _reaches_down(self, found: Components) -> BoolArray:
        reaches = np.zeros(len(found.labels), dtype=bool)
        reaches[found.in_row(-1)] = True
        return reaches

    def _waiting(self, found: Components, edges: Int64Array) -> BoolArray:
        """Small regions that later rows may still change."""
        small = ~self._settled(found)
        cluster = _linked(edges[small[edges].all(axis=1)], len(small))
        open_clusters = np.zeros(len(small), dtype=bool)
        open_clusters[cluster[small & self._reaches_down(found)]] = True
        waiting: BoolArray = small & open_clusters[cluster]
        return waiting

    def _merged(self, found: Components, edges: Int64Array, *, fixed: BoolArray) -> UInt8Array:
        large = fixed | self._settled(found)
        areas_px = np.where(large, math.ceil(self._least_px.max()), found.areas_px)
        graph = _Graph(found.labels, areas_px, found.first + self._top * found.shape[1], edges)
        root = np.arange(len(found.labels))
        while (merged := graph.step(self._least_px)) is not None:
            root = merged[root]
        result: UInt8Array = found.painted(graph.labels[root])
        return result


def _edges_between(found: Components) -> Int64Array:
    """The two regions at every pixel edge between regions, (E, 2)."""
    image = found.painted(np.arange(len(found.labels), dtype=np.int32))
    sides = [(image[:, :-1], image[:, 1:]), (image[:-1], image[1:])]
    return np.concatenate([np.stack([a[a != b], b[a != b]], axis=1).astype(np.int64) for a, b in sides])


def _linked(pairs: Int64Array, n: int) -> NDArray[np.int32]:
    """Numbers the connected components of n nodes with edges `pairs` (E, 2)."""
    links = coo_matrix((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    result: NDArray[np.int32] = connected_components(links.tocsr(), directed=False)[1]
    return result


class _Graph:
    """Regions and their borders.

    Attributes:
        labels: (N,).
        areas_px: (N,).
        places: Flat index in the whole map of the first pixel of each (N,).
        pairs: Neighbouring regions (E, 2), each pair once.
        lengths: Length of their common border in pixels (E,).
    """

    def __init__(self, labels: UInt8Array, areas_px: Int64Array, places: Int64Array, edges: Int64Array) -> None:
        """`edges` (E, 2) has the two regions at every pixel edge."""
        self.labels, self.areas_px, self.places = labels, areas_px, places
        self.pairs, self.lengths = edges, np.ones(len(edges), dtype=np.int64)
        self._join_pairs()

    def step(self, least_px: Float64Array) -> Int64Array | None:
        """Merges every small region that is smaller than all its small neighbours; no two of those touch.

        Args:
            least_px: Minimum area of a region that is not small, by label (256,).

        Returns:
            The new number of each region, or None if there was nothing to merge.
        """
        small = self.areas_px < least_px[self.labels]
        touches = small[self.pairs].any(axis=1)
        self.pairs, self.lengths = self.pairs[touches], self.lengths[touches]
        source = np.concatenate([self.pairs[:, 0], self.pairs[:, 1]])
        target = np.concatenate([self.pairs[:, 1], self.pairs[:, 0]])
        length = np.concatenate([self.lengths, self.lengths])
        usable = small[source] & (self.labels[target] != IGNORE)
        source, target, length = source[usable], target[usable], length[usable]
        if len(source) == 0:
            return None
        goes = self._smallest_around(source, target, small)[source]
        source, target, length = source[goes], target[goes], length[goes]
        labels = self._longest_border(source, self.labels[target], length)
        same = labels[source] == labels[target]  # all neighbours with the new label are merged with it
        return self._contract(source[same], target[same], labels)

    def _longest_border(self, source: Int64Array, around: UInt8Array, length: Int64Array) -> UInt8Array:
        """The labels of all regions (N,); those of `source` become the label with the longest common border."""
        keys, inverse = np.unique(source * 256 + around, return_inverse=True)
        total = np.bincount(inverse, weights=length)
        region, label = np.divmod(keys, 256)
        best = np.lexsort((label, -total, region))
        first = best[np.append(True, np.diff(region[best]) > 0)]
        labels = self.labels.copy()
        labels[region[first]] = label[first]
        return labels

    def _smallest_around(self, source: Int64Array, target: Int64Array, small: BoolArray) -> BoolArray:
        # Ties are ordered by scattered positions: in the order of position, a field of equal specks would be merged
        # one speck at a time.
        order = np.lexsort(((self.places * _SCATTER) % 2**32, self.areas_px))
        rank = np.empty(len(small), dtype=np.int64)
        rank[order] = np.arange(len(small))
        beaten = small[target] & (rank[target] < rank[source])
        smallest: BoolArray = np.bincount(source[beaten], minlength=len(small)) == 0
        return smallest

    def _contract(self, source: Int64Array, target: Int64Array, labels: UInt8Array) -> Int64Array:
        new = _linked(np.stack([source, target], axis=1), len(labels)).astype(np.int64)
        n_new = int(new.max()) + 1
        self.labels = np.empty(n_new, dtype=np.uint8)
        self.labels[new] = labels
        self.areas_px = np.bincount(new, weights=self.areas_px, minlength=n_new).astype(np.int64)
        places = np.full(n_new, np.iinfo(np.int64).max)
        np.minimum.at(places, new, self.places)
        self.places = places
        self.pairs = new[self.pairs]
        self._join_pairs()
        return new

    def _join_pairs(self) -> None:
        """Adds up the borders that two regions share, and drops those of a region with itself."""
        keys: AnyArray = self.pairs.min(axis=1) * len(self.labels) + self.pairs.max(axis=1)
        apart = self.pairs[:, 0] != self.pairs[:, 1]
        unique, inverse = np.unique(keys[apart], return_inverse=True)
        self.lengths = np.bincount(inverse, weights=self.lengths[apart], minlength=len(unique)).astype(np.int64)
        self.pairs = np.stack(np.divmod(unique, len(self.labels)), axis=1)
