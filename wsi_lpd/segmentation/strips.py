"""How a map is cut into strips: bands of its full width and a fixed height, the unit of streaming and of resuming."""

from __future__ import annotations

from dataclasses import dataclass

STRIP_ROWS = 128
"""Map rows of a strip: few enough to hold several and to lose one, enough for a window's height of rows to be small
beside it."""


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
