"""A label map that comes in strips, with what belongs to its pixels."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wsi_lpd.types import AnyArray, UInt8Array


class Strip(NamedTuple):
    """Rows of a map over its full width; strips follow each other from top to bottom.

    Attributes:
        labels: uint8 (rows, W).
        probabilities: uint8 (C + 1, rows, W), 255 = 1.0: background first, then the classes; None if unknown.
        prototypes: uint8 (rows, W): which prototype of the pixel's class won, 255 = none; None if unknown.
    """

    labels: UInt8Array
    probabilities: UInt8Array | None = None
    prototypes: UInt8Array | None = None

    @property
    def height(self) -> int:
        """Rows of the strip."""
        return int(self.labels.shape[0])

    def between(self, first: int, last: int) -> Strip:
        """The rows from `first` to `last - 1` of the strip."""
        parts: list[Any] = [None if part is None else part[..., first:last, :] for part in self]
        return Strip(*parts)


class StripQueue:
    """Rows go in at the bottom and come out at the top, in strips of another height."""

    def __init__(self) -> None:
        self._strips: deque[Strip] = deque()
        self.height = 0

    def push(self, strip: Strip) -> None:
        """Adds a strip below.

        Raises:
            ValueError: If it does not fit the others or itself.
        """
        for part in strip:
            if part is not None and part.shape[-2:] != strip.labels.shape:
                raise ValueError(f"labels are {strip.labels.shape}, what belongs to them {part.shape}")
        if self._strips and self._strips[0].labels.shape[1] != strip.labels.shape[1]:
            raise ValueError(f"strips are {self._strips[0].labels.shape[1]} and {strip.labels.shape[1]} pixels wide")
        self._strips.append(strip)
        self.height += strip.height

    def pop(self, count: int) -> Strip:
        """Takes the `count` uppermost rows."""
        taken = []
        self.height -= count
        while count > 0:
            strip = self._strips.popleft()
            taken.append(strip.between(0, count))
            if strip.height > count:
                self._strips.appendleft(strip.between(count, strip.height))
            count -= taken[-1].height
        return _stacked(taken)


def _stacked(strips: Sequence[Strip]) -> Strip:
    if len(strips) == 1:
        return strips[0]
    parts: list[Any] = [_stacked_parts(each) for each in zip(*strips, strict=True)]
    return Strip(*parts)


def _stacked_parts(parts: tuple[AnyArray | None, ...]) -> AnyArray | None:
    known = [part for part in parts if part is not None]
    if known and len(known) < len(parts):
        raise ValueError("some strips have probabilities or prototypes and others have none")
    return np.concatenate(known, axis=-2) if known else None


def recut(strips: Iterable[Strip], height: int) -> Iterator[Strip]:
    """The same rows in strips of `height` rows each; the last one may be lower."""
    queue = StripQueue()
    for strip in strips:
        queue.push(strip)
        while queue.height >= height:
            yield queue.pop(height)
    if queue.height:
        yield queue.pop(queue.height)
