"""Overlapping windows become one map: a weighted mean, divided by the sum of the weights, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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

    def between(self, first: int, last: int) -> StitchedRows:
        """The rows from `first` to `last - 1` of the map."""
        part = slice(first - self.top, last - self.top)
        return StitchedRows(
            first, self.logits[:, part], self.presence[:, part], self.prototypes[:, part], self.covered[part]
        )


def window_weight(side: int) -> Float32Array:
    """Two-dimensional Hann weight (side, side), taken at pixel centres so that it is nowhere zero."""
    line = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    return np.outer(line, line).astype(np.float32)


class Stitcher:
    """Holds only the rows that windows still reach: memory is one window high, however high the slide is.

    Logits are averaged, not probabilities: a sure window outvotes an unsure neighbour instead of being blurred by
    it. Presence is averaged with the same weights, which makes the gate smooth in slide coordinates.
    """

    def __init__(self, *, n_classes: int, width: int, side: int, top: int = 0) -> None:
        """Windows are `side` map pixels wide; the first row, `top`, is negative if the grid starts above the slide."""
        self._weight = window_weight(side)
        self._side = side
        self._width = width
        self._top = top
        self._logits = np.zeros((n_classes + 1, side, width), np.float32)
        self._presence = np.zeros((n_classes, side, width), np.float32)
        self._total = np.zeros((side, width), np.float32)
        self._best = np.zeros((side, width), np.float32)
        self._prototypes = np.zeros((n_classes, side, width), np.uint8)

    def add(self, x: int, y: int, maps: WindowMaps) -> None:
        """Adds a window whose top-left map pixel is (x, y); what lies outside the map is cut off.

        Raises:
            ValueError: If the window lies outside the rows that are held.
        """
        if not self._top <= y <= self._top + self._logits.shape[1] - self._side:
            raise ValueError(f"window row {y} is not held: rows {self._top} to {self._top + self._side} are")
        left, right = max(x, 0), min(x + self._side, self._width)
        if left >= right:
            return
        rows = slice(y - self._top, y - self._top + self._side)
        there = (rows, slice(left, right))
        here = (slice(None), slice(left - x, right - x))
        weight = self._weight[here]
        self._logits[:, *there] += maps.logits[:, *here] * weight
        self._presence[:, *there] += maps.presence[:, None, None] * weight
        self._total[there] += weight
        nearer = weight > self._best[there]  # prototypes cannot be averaged: the most central window decides
        self._best[there] = np.where(nearer, weight, self._best[there])
        current = self._prototypes[:, *there]
        self._prototypes[:, *there] = np.where(nearer, maps.prototypes[:, *here], current)

    def finish_before(self, row: int) -> StitchedRows:
        """Hands out and forgets the rows above `row` (at most one window's height)."""
        count = min(row - self._top, self._side)
        total = self._total[:count]
        covered = total > 0
        divisor = np.where(covered, total, np.float32(1)).astype(np.float32)
        rows = StitchedRows(
            top=self._top,
            logits=self._logits[:, :count] / divisor,
            presence=self._presence[:, :count] / divisor,
            prototypes=self._prototypes[:, :count].copy(),
            covered=covered,
        )
        for array in (self._logits, self._presence, self._total, self._best, self._prototypes):
            array[..., : self._side - count, :] = array[..., count:, :].copy()
            array[..., self._side - count :, :] = 0
        self._top = row
        return rows
