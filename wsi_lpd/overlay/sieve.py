"""Small regions join a neighbour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wsi_lpd.overlay.components import Components, label_components
from wsi_lpd.types import IGNORE, AnyArray, BoolArray, Int64Array, UInt8Array

_SCATTER: Final = 2_654_435_761  # odd, near 2^32 / golden ratio: multiplying by it scatters neighbouring numbers


def merge_small(label_map: UInt8Array, min_area_px: float) -> UInt8Array:
    """Gives every region smaller than `min_area_px` the label of the neighbour with the longest common border.

    Regions of label 0 (glass) are treated like all others, so small holes are filled; 255 neither changes nor takes
    a region in. The smallest regions go first, and what they became counts for the next ones. A small region with no
    neighbour but 255 stays.

    Args:
        label_map: uint8 (H, W); it is not changed.
        min_area_px: Least area of a region that stays, in label-map pixels.
    """
    if min_area_px <= 1 or label_map.size == 0:
        return label_map.copy()
    found = label_components(label_map)
    graph = _Graph.of(found)
    root = np.arange(len(found.labels))
    while (merged := graph.step(min_area_px)) is not None:
        root = merged[root]
    result: UInt8Array = found.painted(graph.labels[root])
    return result


@dataclass
class _Graph:
    """Regions and their borders.

    Attributes:
        labels: (N,).
        areas_px: (N,).
        pairs: Neighbouring regions (E, 2), each pair once.
        lengths: Length of their common border in pixels (E,).
    """

    labels: UInt8Array
    areas_px: Int64Array
    pairs: Int64Array
    lengths: Int64Array

    @classmethod
    def of(cls, found: Components) -> _Graph:
        image = found.painted(np.arange(len(found.labels), dtype=np.int32))
        sides = [(image[:, :-1], image[:, 1:]), (image[:-1], image[1:])]
        pairs = [np.stack([a[a != b], b[a != b]], axis=1).astype(np.int64) for a, b in sides]
        both = np.concatenate(pairs)
        graph = cls(found.labels.copy(), found.areas_px.copy(), both, np.ones(len(both), dtype=np.int64))
        graph._join_pairs()
        return graph

    def step(self, min_area_px: float) -> Int64Array | None:
        """Merges every small region that is smaller than all its small neighbours; no two of those touch.

        Returns:
            The new number of each region, or None if there was nothing to merge.
        """
        small = (self.areas_px < min_area_px) & (self.labels != IGNORE)
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
        best = np.lexsort((target, -self.areas_px[target], -length, source))
        first = best[np.append(True, np.diff(source[best]) > 0)]
        labels = self.labels.copy()
        labels[source[first]] = self.labels[target[first]]
        same = labels[source] == labels[target]  # all neighbours of the new label become one region with it
        return self._contract(source[same], target[same], labels)

    def _smallest_around(self, source: Int64Array, target: Int64Array, small: BoolArray) -> BoolArray:
        # Equal areas are ordered by scattered numbers: ordered by place, a field of equal specks would be
        # merged one speck at a time.
        order = np.lexsort(((np.arange(len(small)) * _SCATTER) % 2**32, self.areas_px))
        rank = np.empty(len(small), dtype=np.int64)
        rank[order] = np.arange(len(small))
        beaten = small[target] & (rank[target] < rank[source])
        smallest: BoolArray = np.bincount(source[beaten], minlength=len(small)) == 0
        return smallest

    def _contract(self, source: Int64Array, target: Int64Array, labels: UInt8Array) -> Int64Array:
        n = len(labels)
        links = coo_matrix((np.ones(len(source), dtype=np.int8), (source, target)), shape=(n, n))
        n_new, new = connected_components(links.tocsr(), directed=False)
        self.labels = np.empty(n_new, dtype=np.uint8)
        self.labels[new] = labels
        self.areas_px = np.bincount(new, weights=self.areas_px, minlength=n_new).astype(np.int64)
        self.pairs = new[self.pairs].astype(np.int64)
        self._join_pairs()
        return np.asarray(new, dtype=np.int64)

    def _join_pairs(self) -> None:
        """Makes one border of all that two regions share, and none of a region with itself."""
        keys: AnyArray = self.pairs.min(axis=1) * len(self.labels) + self.pairs.max(axis=1)
        apart = self.pairs[:, 0] != self.pairs[:, 1]
        unique, inverse = np.unique(keys[apart], return_inverse=True)
        self.lengths = np.bincount(inverse, weights=self.lengths[apart], minlength=len(unique)).astype(np.int64)
        self.pairs = np.stack(np.divmod(unique, len(self.labels)), axis=1)
