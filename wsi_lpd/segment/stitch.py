"""Overlapping windows become one map: a weighted mean, divided by the sum of the weights, strip by strip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wsi_lpd.segment.windows import Place
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


class Stitcher:
    """Holds only the rows that windows still reach: memory does not grow with the height of the slide.

    Logits are averaged, not probabilities: a sure window outvotes an unsure neighbour instead of being blurred by
    it. Presence is averaged with the same weights, which makes the gate smooth in slide coordinates.

    Windows must come in the same order each time: sums of floats depend on it. What comes out then does not depend on
    `top`, so a map can be begun at any row.
    """

    def __init__(self, *, n_classes: int, width: int, side: int, rows: int, top: int = 0) -> None:
        """Begins a map, `width` pixels wide, at its row `top`.

        Args:
            n_classes: Classes of the model, C.
            width: Pixels of a row.
            side: Side of a window in map pixels.
            rows: Most rows that are asked for at once; they and a window's height are held.
            top: First row of the map that is wanted.
        """
        held = rows + side
        self._weight = window_weight(side)
        self._side = side
        self._width = width
        self._top = top
        self._logits = np.zeros((n_classes + 1, held, width), np.float32)
        self._presence = np.zeros((n_classes, held, width), np.float32)
        self._total = np.zeros((held, width), np.float32)
        self._best = np.zeros((held, width), np.float32)
        self._prototypes = np.zeros((n_classes, held, width), np.uint8)

    def add(self, x: int, y: int, maps: WindowMaps) -> None:
        """Adds a window whose top-left map pixel is (x, y); what lies left, right or above of the rows held is cut off.

        Raises:
            ValueError: If the window reaches below the rows that are held.
        """
        if y + self._side > self._top + len(self._total):
            raise ValueError(f"window row {y} is not held: rows {self._top} to {self._top + len(self._total)} are")
        left, right = max(x, 0), min(x + self._side, self._width)
        top, bottom = max(y, self._top), y + self._side
        if left >= right or top >= bottom:
            return
        here = (slice(top - y, None), slice(left - x, right - x))
        there = (slice(top - self._top, bottom - self._top), slice(left, right))
        weight = self._weight[here]
        self._logits[:, *there] += maps.logits[:, *here] * weight
        self._presence[:, *there] += maps.presence[:, None, None] * weight
        self._total[there] += weight
        best = self._best[there]
        nearer = weight > best  # prototypes cannot be averaged: the most central window decides
        np.maximum(best, weight, out=best)
        np.copyto(self._prototypes[:, *there], maps.prototypes[:, *here], where=nearer)

    def finish_before(self, row: int) -> StitchedRows:
        """Hands out and forgets the rows above `row`, at most as many as were announced."""
        count = row - self._top
        total = self._total[:count]
        covered = total > 0
        divisor = np.where(covered, total, np.float32(1)).astype(np.float32, copy=False)
        rows = StitchedRows(
            top=self._top,
            logits=self._logits[:, :count] / divisor,
            presence=self._presence[:, :count] / divisor,
            prototypes=self._prototypes[:, :count].copy(),
            covered=covered,
        )
        for array in (self._logits, self._presence, self._total, self._best, self._prototypes):
            array[..., : self._side, :] = array[..., count : count + self._side, :].copy()
            array[..., self._side :, :] = 0
        self._top = row
        return rows


def stitched(
    windows: Iterable[tuple[Place, WindowMaps]],
    strips: Sequence[tuple[int, int]],
    *,
    n_classes: int,
    width: int,
    side: int,
) -> Iterator[StitchedRows]:
    """Finished strips of a map from windows in rows from top to bottom.

    Args:
        windows: Where each lies, in map pixels, and what the network says of it. Windows that end above the first strip
            are passed over.
        strips: First row and end of each strip; each begins where the one before ends.
        n_classes: Classes of the model.
        width: Pixels of a row of the map.
        side: Side of a window in map pixels.
    """
    highest = max(bottom - top for top, bottom in strips)
    stitcher = Stitcher(n_classes=n_classes, width=width, side=side, rows=highest, top=strips[0][0])
    windows = iter(windows)
    window = next(windows, None)
    for _, bottom in strips:
        while window is not None and window[0].top < bottom:
            stitcher.add(window[0].left, window[0].top, window[1])
            window = next(windows, None)
        yield stitcher.finish_before(bottom)
