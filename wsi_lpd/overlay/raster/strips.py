"""Strips of a map: labels with their probabilities and prototypes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from wsi_lpd.overlay.raster.label_strips import rows_of_height
from wsi_lpd.types import BACKGROUND, UInt8Array

NO_PROTOTYPE: Final = 255


class Strip(NamedTuple):
    """Rows of a map over its full width; strips are ordered from top to bottom.

    Attributes:
        labels: uint8 (rows, W): 0 background, class i is i + 1.
        probabilities: uint8 (C + 1, rows, W), 255 = 1.0, one plane per label-map value, background first.
        prototypes: uint8 (rows, W): the best-matching prototype of the pixel's class, counted from 0; `NO_PROTOTYPE`
            where there is none, as on background.
    """

    labels: UInt8Array
    probabilities: UInt8Array
    prototypes: UInt8Array

    @classmethod
    def blank(cls, *, rows: int, width: int, n_classes: int) -> Strip:
        """A strip of background."""
        probabilities = np.zeros((n_classes + 1, rows, width), np.uint8)
        probabilities[BACKGROUND] = 255
        return cls(np.zeros((rows, width), np.uint8), probabilities, np.full((rows, width), NO_PROTOTYPE, np.uint8))

    @property
    def height(self) -> int:
        """Rows of the strip."""
        return int(self.labels.shape[0])

    def between(self, first: int, last: int) -> Strip:
        """The rows from `first` to `last - 1` of the strip."""
        return Strip(*(part[..., first:last, :] for part in self))


def recut(strips: Iterable[Strip], height: int) -> Iterator[Strip]:
    """The same rows in strips of `height` rows each; the last one may be lower.

    Raises:
        ValueError: If the arrays of a strip differ in size.
    """
    return (Strip(*parts) for parts in rows_of_height(map(_checked, strips), height))


def _checked(strip: Strip) -> Strip:
    for part in strip:
        if part.shape[-2:] != strip.labels.shape:
            raise ValueError(
                f"an array of the strip has shape {part.shape}; expected {strip.labels.shape} as its labels"
            )
    return strip
