"""Reading a slide band by band at the model's mpp, ahead of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from wsi_lpd.segment.windows import WindowGrid
from wsi_lpd.slide import Slide
from wsi_lpd.types import Size, UInt8Array

_COLUMN_PX = 2048

T = TypeVar("T")


class BandReader:
    """Keeps the last window's height of rows in memory, so that every pixel is read once however windows overlap."""

    def __init__(self, slide: Slide, grid: WindowGrid, wanted: dict[int, list[int]]) -> None:
        """`wanted` maps the top of each row of windows to the left edges of the windows that will be looked at."""
        self._slide = slide
        self._grid = grid
        self._wanted = wanted
        left, right = grid.columns[0], grid.columns[-1] + grid.window_px
        self._left = left
        self._rows = np.zeros((grid.window_px, right - left, 3), np.uint8)

    def __iter__(self) -> Iterator[tuple[int, list[int], UInt8Array]]:
        """Yields (top, left edges, windows (n, S, S, 3)) for every row of windows, empty rows too."""
        side, filled_to = self._grid.window_px, self._grid.rows[0]
        for top in self._grid.rows:
            new_rows = top + side - filled_to
            self._rows[: side - new_rows] = self._rows[new_rows:].copy()
            self._read(filled_to, new_rows)
            filled_to = top + side
            columns = self._wanted.get(top, [])
            windows = [self._rows[:, x - self._left : x - self._left + side] for x in columns]
            yield top, columns, np.stack(windows) if windows else np.zeros((0, side, side, 3), np.uint8)

    def _read(self, top: int, count: int) -> None:
        """Fills the last `count` rows of the buffer with model rows from `top`, where a window will need them."""
        side = self._grid.window_px
        into = self._rows[side - count :]
        needed = np.zeros(into.shape[1], bool)
        for row, columns in self._wanted.items():
            if row < top + count and row + side > top:
                for x in columns:
                    needed[x - self._left : x - self._left + side] = True
        for start in range(0, into.shape[1], _COLUMN_PX):
            part = needed[start : start + _COLUMN_PX]
            if not part.any():
                continue
            first, last = start + int(part.argmax()), start + len(part) - int(part[::-1].argmax())
            box = self._grid.to_level0(self._left + first, top, last - first, count)
            into[:, first:last] = self._slide.read(box, Size(last - first, count))


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Makes the next item in a thread while the caller works on this one."""
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, source, end)
        while (item := upcoming.result()) is not end:
            upcoming = pool.submit(next, source, end)
            yield item  # type: ignore[misc]
