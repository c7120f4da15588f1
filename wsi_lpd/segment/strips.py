"""The map in strips: bands of its full width and a fixed height, the unit of streaming and of resuming."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wsi_lpd.types import BACKGROUND, UInt8Array

NO_PROTOTYPE = 255

STRIP_ROWS = 128
"""Map rows of a strip: few enough to hold several and to lose one, enough for a window's height of rows to be small
beside it."""


class Strip(NamedTuple):
    """Finished rows of a map."""

    labels: UInt8Array
    """(rows, W): 0 background, class i is i + 1."""
    probabilities: UInt8Array
    """(C + 1, rows, W): probability of each label-map value, so background first; 255 is 1."""
    prototypes: UInt8Array
    """(rows, W): which prototype of the winning class is most similar; `NO_PROTOTYPE` on background."""

    @classmethod
    def blank(cls, *, rows: int, width: int, n_classes: int) -> Strip:
        """Rows that are background everywhere."""
        probabilities = np.zeros((n_classes + 1, rows, width), np.uint8)
        probabilities[BACKGROUND] = 255
        return cls(np.zeros((rows, width), np.uint8), probabilities, np.full((rows, width), NO_PROTOTYPE, np.uint8))


@dataclass(frozen=True)
class StripGrid:
    """How a map of `height` x `width` pixels and `n_classes` classes is cut into strips; the last may be lower."""

    height: int
    width: int
    n_classes: int
    strip_rows: int = STRIP_ROWS

    def __len__(self) -> int:
        return -(-self.height // self.strip_rows)

    def rows_of(self, index: int) -> tuple[int, int]:
        """First row of a strip, and the one after its last."""
        return index * self.strip_rows, min((index + 1) * self.strip_rows, self.height)

    def shapes_of(self, index: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of the arrays of a strip."""
        top, bottom = self.rows_of(index)
        plane = (bottom - top, self.width)
        return plane, (self.n_classes + 1, *plane), plane


def joined(strips: Iterable[Strip]) -> Strip:
    """The whole map as one strip, all of it in memory."""
    labels, probabilities, prototypes = zip(*strips, strict=True)
    return Strip(np.concatenate(labels), np.concatenate(probabilities, axis=1), np.concatenate(prototypes))
