"""The JPEG tiles of one level of a TIFF slide: where they lie in the file, and what is in them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import imagecodecs
import numpy as np

from wsi_lpd.types import Size, UInt8Array

REDUCTIONS: Final = (2, 4, 8)
"""By what a JPEG decoder makes a tile smaller on the way."""

_REDUCED: Final = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_SOI_BYTES: Final = 2
_EOI_BYTES: Final = 2
_ADOBE: Final = {
    "RGB": bytes.fromhex("ffee000e41646f626500640000000000"),
    "YCBCR": bytes.fromhex("ffee000e41646f626500640000000001"),
}
"""The APP14 segment that tells a decoder which colours a JPEG holds; TIFF says it outside of the JPEG."""


@dataclass(frozen=True)
class NativeLevel:
    """Where the tiles of one level lie in the file, row by row.

    Attributes:
        size_px: Width and height of the level.
        tile_px: Width and height of a tile.
        offsets: First byte of each tile; a slide may have a million, and arrays take a fifth of the memory of tuples.
        counts: Bytes of each tile.
        tables: JPEG tables that all tiles share, or None where each has its own.
        colours: What the JPEG holds.
    """

    size_px: Size
    tile_px: Size
    offsets: array[int]
    counts: array[int]
    tables: bytes | None
    colours: Literal["RGB", "YCBCR"]

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.size_px.width // self.tile_px.width)

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.size_px.height // self.tile_px.height)

    @property
    def has_holes(self) -> bool:
        """Whether a tile is missing: what stands there is for the base to say."""
        return len(self.counts) != self.columns * self.rows or 0 in self.counts

    def decoded(self, data: bytes, index: int, *, reduction: int) -> UInt8Array:
        """One tile as RGB, its sides divided by `reduction` (1 or one of `REDUCTIONS`).

        Args:
            data: Its bytes.
            index: Its number, row by row. What a tile on the edge holds beyond the level is anything, black for
                example; where a pixel of the result would stand for it in part, the level's last pixels are repeated.
            reduction: See above.

        Raises:
            RuntimeError: If it is damaged (`imagecodecs.Jpeg8Error`).
            ValueError: If it is, or has another size.
        """
        if reduction == 1:
            pixels = self._whole(data)
        elif self._ends_inside_a_pixel(index, reduction):
            pixels = self._averaged(data, index, reduction)
        else:
            pixels = self._reduced(data, reduction)
        expected = (self.tile_px.height // reduction, self.tile_px.width // reduction, 3)
        if pixels.shape != expected:
            raise ValueError(f"a tile has the shape {pixels.shape}, expected {expected}")
        return pixels

    def _whole(self, data: bytes) -> UInt8Array:
        decoded = imagecodecs.jpeg8_decode(data, tables=self.tables, colorspace=self.colours, outcolorspace="RGB")
        return np.asarray(decoded)

    def _rest(self, index: int) -> tuple[int, int]:
        """Width and height of the level from the left and upper edge of a tile on."""
        row, column = divmod(index, self.columns)
        return self.size_px.width - column * self.tile_px.width, self.size_px.height - row * self.tile_px.height

    def _ends_inside_a_pixel(self, index: int, reduction: int) -> bool:
        sides = zip(self._rest(index), self.tile_px, strict=True)
        return any(rest < tile and rest % reduction for rest, tile in sides)

    def _averaged(self, data: bytes, index: int, reduction: int) -> UInt8Array:
        width, height = (min(rest, tile) for rest, tile in zip(self._rest(index), self.tile_px, strict=True))
        beyond = ((0, self.tile_px.height - height), (0, self.tile_px.width - width), (0, 0))
        pixels = np.pad(self._whole(data)[:height, :width], beyond, mode="edge")
        size = (self.tile_px.width // reduction, self.tile_px.height // reduction)
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)

    def _reduced(self, data: bytes, reduction: int) -> UInt8Array:
        tables = b"" if self.tables is None else self.tables[_SOI_BYTES:-_EOI_BYTES]
        stream = b"".join([data[:_SOI_BYTES], tables, _ADOBE[self.colours], data[_SOI_BYTES:]])
        decoded = cv2.imdecode(np.frombuffer(stream, np.uint8), _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
        if decoded is None:
            raise ValueError("a tile is no JPEG")
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
