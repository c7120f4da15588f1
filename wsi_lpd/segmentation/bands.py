"""Cutting windows from a slide: every pixel is read once, columns in parallel, ahead of the windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

from wsi_lpd.prediction.windows import Place, WindowGrid, mirrored
from wsi_lpd.slide import Slide
from wsi_lpd.types import BoolArray, Size, UInt8Array

_COLUMN_PX = 2048


class BandReader:
    """Cuts windows from bands as high as the step between rows of windows; a context manager.

    A band is read as soon as the row of windows above it is begun. Bands and the columns they are read in lie at fixed
    places, so that the pixels of a window do not depend on where cutting begins: scaling rounds to pixels of the slide
    at the edges of what is read at once. Past the slide's edges it is mirrored, from its last whole model pixel.
    """

    def __init__(self, slide: Slide, grid: WindowGrid, wanted: Mapping[int, Sequence[int]], *, threads: int) -> None:
        """`wanted` maps the top of each row of windows to the left edges of all windows that are ever cut."""
        self._slide = slide
        self._grid = grid
        self._wanted = wanted
        self._left, self._top = grid.columns[0], grid.rows[0]
        self._width = grid.columns[-1] + grid.window_px - self._left
        self._whole = Size(*(max(1, int(side / grid.scale + 1e-6)) for side in slide.size_px))
        self._per_window = -(-grid.window_px // grid.stride_px)
        self._last = len(grid.rows) - 1 + self._per_window - 1
        self._bands: dict[int, tuple[UInt8Array, list[Future[None]]]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")

    def cut(self, place: Place, into: UInt8Array) -> None:
        """Writes the pixels of a window into (S, S, 3). Windows are cut row by row from top to bottom.

        Raises:
            SlideError: If the slide cannot be read there.
        """
        side, step = self._grid.window_px, self._grid.stride_px
        first = (place.top - self._top) // step
        self._begin(first)
        columns = slice(place.left - self._left, place.left - self._left + side)
        for i in range(self._per_window):
            rows = slice(i * step, min((i + 1) * step, side))
            into[rows] = self._finished(first + i)[: rows.stop - rows.start, columns]

    def __enter__(self) -> BandReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._bands.clear()

    def _begin(self, first: int) -> None:
        """Forgets the bands above `first` and begins to read those of its windows, and one more."""
        for passed in [index for index in self._bands if index < first]:
            del self._bands[passed]
        for index in range(first, min(first + self._per_window, self._last) + 1):
            if index not in self._bands:
                band = np.empty((self._grid.stride_px, self._width, 3), np.uint8)
                spans = self._spans(index)
                self._bands[index] = band, [self._pool.submit(self._read, index, band, *span) for span in spans]

    def _finished(self, index: int) -> UInt8Array:
        band, reads = self._bands[index]
        while reads:
            reads[-1].result()
            reads.pop()
        return band

    def _read(self, index: int, band: UInt8Array, first: int, end: int) -> None:
        """Fills columns `first` to `end` of a band."""
        columns = mirrored(self._left + first, end - first, self._whole.width)
        rows = mirrored(self._top + index * len(band), len(band), self._whole.height)
        x, y = int(columns.min()), int(rows.min())
        size = Size(int(columns.max()) + 1 - x, int(rows.max()) + 1 - y)
        pixels = self._slide.read(self._grid.to_level0(x, y, *size), size)
        band[:, first:end] = pixels[(rows - y)[:, None], (columns - x)[None]]

    def _spans(self, index: int) -> list[tuple[int, int]]:
        """First column and end of each read of a band: what windows need of it, cut at fixed columns."""
        needed = self._needed(index)
        spans = []
        for start in range(0, self._width, _COLUMN_PX):
            part = needed[start : start + _COLUMN_PX]
            if part.any():
                spans.append((start + int(part.argmax()), start + len(part) - int(part[::-1].argmax())))
        return spans

    def _needed(self, index: int) -> BoolArray:
        """Which columns of a band some window will show, (W,)."""
        needed = np.zeros(self._width, bool)
        for row in range(index - self._per_window + 1, index + 1):
            for x in self._wanted.get(self._top + row * self._grid.stride_px, ()):
                needed[x - self._left : x - self._left + self._grid.window_px] = True
        return needed
