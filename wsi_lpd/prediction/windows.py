"""Where windows lie: pure arithmetic in model pixels (pixels at the model's mpp, counted from the slide's corner)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wsi_lpd.types import Box, Int64Array, UInt8Array


class Place(NamedTuple):
    """Left and upper edge of a window."""

    left: int
    top: int


class Batch(NamedTuple):
    """Windows for one forward pass."""

    places: Sequence[Place]
    """In model pixels."""
    pixels: UInt8Array
    """RGB at the model's mpp, (n, S, S, 3)."""


@dataclass(frozen=True)
class WindowGrid:
    """Square windows in rows that cover the whole slide and reach equally far past its opposite edges.

    A slide and its mirror image are thus cut at the same places, to within half of `unit_px`. What lies past an edge
    is the slide mirrored (`mirrored`): glass there would tell the network that the tissue ends.

    Frame: model pixels; `scale` level-0 pixels are one model pixel. Every window begins at a multiple of `unit_px`,
    less `offset_px`, which moves the grid up and left.
    """

    width_px: int
    height_px: int
    window_px: int
    stride_px: int
    scale: float
    offset_px: int = 0
    unit_px: int = 1

    @property
    def columns(self) -> list[int]:
        """Left edges of the windows of a row, ascending."""
        return self._starts(self.width_px)

    @property
    def rows(self) -> list[int]:
        """Top edges of the rows, ascending."""
        return self._starts(self.height_px)

    def to_level0(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Box:
        """The level-0 box of a rectangle of model pixels; neighbours share their rounded edge."""
        x0, y0 = round(x_px * self.scale), round(y_px * self.scale)
        x1, y1 = round((x_px + width_px) * self.scale), round((y_px + height_px) * self.scale)
        return Box(x0, y0, x1 - x0, y1 - y0)

    def _starts(self, length_px: int) -> list[int]:
        reach = max(length_px + self.offset_px - self.window_px, 0)
        count = -(-reach // self.stride_px) + 1
        spare = (count - 1) * self.stride_px + self.window_px - length_px - self.offset_px
        first = -(max(spare, 0) // 2 // self.unit_px * self.unit_px) - self.offset_px
        return [first + i * self.stride_px for i in range(count)]


def mirrored(first: int, count: int, length: int) -> Int64Array:
    """Which pixels of a line of `length` show at `count` positions from `first` on, when it is mirrored at its ends.

    As `numpy.pad(mode="symmetric")`: the outermost pixel shows twice; a short line is mirrored as often as it takes.
    """
    positions = np.arange(first, first + count) % (2 * length)
    return np.minimum(positions, 2 * length - 1 - positions)


def in_batches(
    places: Sequence[Place], size: int, *, window_px: int, cut: Callable[[Place, UInt8Array], None]
) -> Iterator[Batch]:
    """Windows in batches of `size`, the last one with what is left.

    Args:
        places: In the order in which they are cut.
        size: Windows per batch.
        window_px: Side of a window.
        cut: Writes the pixels of a window into an array (S, S, 3).
    """
    for start in range(0, len(places), size):
        chosen = places[start : start + size]
        pixels = np.empty((len(chosen), window_px, window_px, 3), np.uint8)
        for place, into in zip(chosen, pixels, strict=True):
            cut(place, into)
        yield Batch(chosen, pixels)


def stride_for(window_px: int, overlap: float, *, cell_px: int) -> int:
    """Step between windows for a share of overlap: at most what was asked for, and an odd number of half cells.

    Neighbouring windows then see the same tissue half a cell of the coarsest feature map apart. Outlines prefer the
    edges of cells; averaged over both placements the preference nearly goes, and the map gains resolution.

    Args:
        window_px: Side of a window.
        overlap: Least share of a window that its neighbour covers too.
        cell_px: Side of a cell: the coarsest down-sampling of the encoder's maps in use.
    """
    half_cell = cell_px / 2
    n_half_cells = max(1, math.floor(window_px * (1 - overlap) / half_cell))
    return math.ceil((n_half_cells - 1 + n_half_cells % 2) * half_cell)
