"""Overlapping windows become one map: a weighted mean, divided by the sum of the weights, strip by strip."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wsi_lpd.prediction.windows import Place
from wsi_lpd.types import BoolArray, Float32Array, UInt8Array


@dataclass(frozen=True)
class WindowMaps:
    """What the network says of one window, on the label-map grid."""

    logits: Float32Array
    """(C + 1, h, w): the background's logit, then the fused class maps."""
    presence: Float32Array
    """(C,): calibrated probability that the class occurs in the window."""
    prototypes: UInt8Array
    """(C, h, w): most similar prototype of each class."""


@dataclass(frozen=True)
class StitchedRows:
    """Finished rows of the map."""

    top: int
    logits: Float32Array
    """(C + 1, rows, W); 0 where no window lay."""
    presence: Float32Array
    """(C, rows, W), in [0, 1]."""
    prototypes: UInt8Array
    """(C, rows, W)."""
    covered: BoolArray
    """(rows, W) bool: at least one window lay here."""


def window_weight(side: int) -> Float32Array:
    """Two-dimensional Hann weight (side, side), taken at pixel centres so that it is nowhere zero."""
    line = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    return np.outer(line, line).astype(np.float32)


class StripSums:
    """Sums over the windows that reach the rows from `top` to `bottom - 1` of a map.

    Logits are averaged, not probabilities: a sure window outvotes an unsure neighbour instead of being blurred by
    it. Presence is averaged with the same weights, which makes the gate smooth in slide coordinates.

    Windows must come in the same order each time: sums of floats depend on it.
    """

    def __init__(self, top: int, bottom: int, *, n_classes: int, width: int) -> None:
        shape = (bottom - top, width)
        self._top, self._bottom, self._width = top, bottom, width
        self._logits = np.zeros((n_classes + 1, *shape), np.float32)
        self._presence = np.zeros((n_classes, *shape), np.float32)
        self._total = np.zeros(shape, np.float32)
        self._best = np.zeros(shape, np.float32)
        self._prototypes = np.zeros((n_classes, *shape), np.uint8)

    def add(self, place: Place, maps: WindowMaps, weight: Float32Array) -> None:
        """Adds what of a window lies in these rows, with its `weight` (h, w)."""
        x, y = place
        left, right = max(x, 0), min(x + weight.shape[1], self._width)
        top, bottom = max(y, self._top), min(y + weight.shape[0], self._bottom)
        if left >= right or top >= bottom:
            return
        here = (slice(top - y, bottom - y), slice(left - x, right - x))
        there = (slice(top - self._top, bottom - self._top), slice(left, right))
        weight = weight[here]
        self._logits[:, *there] += maps.logits[:, *here] * weight
        self._presence[:, *there] += maps.presence[:, None, None] * weight
        self._total[there] += weight
        best = self._best[there]
        nearer = weight > best  # prototypes cannot be averaged: the most central window decides
        np.maximum(best, weight, out=best)
        np.copyto(self._prototypes[:, *there], maps.prototypes[:, *here], where=nearer)

    def finished(self) -> StitchedRows:
        """The means; nothing can be added any more."""
        covered = self._total > 0
        np.copyto(self._total, 1, where=~covered)
        self._logits /= self._total
        self._presence /= self._total
        return StitchedRows(self._top, self._logits, self._presence, self._prototypes, covered)


def stitched(
    windows: Iterable[tuple[Place, WindowMaps]],
    strips: Sequence[tuple[int, int]],
    *,
    n_classes: int,
    width: int,
    side: int,
) -> Iterator[StitchedRows]:
    """Finished strips of a map from windows in rows from top to bottom; only strips that windows still reach are held.

    What comes out does not depend on which strips are asked for.

    Args:
        windows: Where each lies, in map pixels, and what the network says of it. Windows that end above the first strip
            are passed over.
        strips: First row and end of each strip; each begins where the one before ends.
        n_classes: Classes of the model.
        width: Pixels of a row of the map.
        side: Side of a window in map pixels.
    """
    weight = window_weight(side)
    waiting, reached = deque(strips), deque[StripSums]()

    def reach(row: int) -> None:
        while waiting and waiting[0][0] < row:
            reached.append(StripSums(*waiting.popleft(), n_classes=n_classes, width=width))

    windows = iter(windows)
    window = next(windows, None)
    for _, end in strips:
        reach(end)
        while window is not None and window[0].top < end:
            place, maps = window
            reach(place.top + side)
            for sums in reached:
                sums.add(place, maps, weight)
            window = next(windows, None)
        yield reached.popleft().finished()
