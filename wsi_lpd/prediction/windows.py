"""Where windows lie: pure arithmetic in model pixels (pixels at the model's mpp, counted from the slide's corner)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wsi_lpd.types import Box, UInt8Array


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
    """Square windows in rows that cover the whole slide; the last of a row or column may reach past its edge.

    Frame: model pixels; `scale` level-0 pixels are one model pixel.
    """

    width_px: int
    height_px: int
    window_px: int
    stride_px: int
    scale: float
    offset_px: int = 0

    @property
    def columns(self) -> list[int]:
        """Left edges of the windows of a row, ascending."""
        return _starts(self.width_px, self.window_px, self.stride_px, self.offset_px)

    @property
    def rows(self) -> list[int]:
        """Top edges of the rows, ascending."""
        return _starts(self.height_px, self.window_px, self.stride_px, self.offset_px)

    def to_level0(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Box:
        """The level-0 box of a rectangle of model pixels; neighbours share their rounded edge."""
        x0, y0 = round(x_px * self.scale), round(y_px * self.scale)
        x1, y1 = round((x_px + width_px) * self.scale), round((y_px + height_px) * self.scale)
        return Box(x0, y0, x1 - x0, y1 - y0)


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


def _starts(length_px: int, window_px: int, stride_px: int, offset_px: int) -> list[int]:
    count = -(-max(length_px + offset_px - window_px, 0) // stride_px) + 1
    return [i * stride_px - offset_px for i in range(count)]
