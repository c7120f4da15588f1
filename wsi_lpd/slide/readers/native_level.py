"""The JPEG tiles of one level of a TIFF slide: their position in the file, and how to decode them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import imagecodecs
import numpy as np

from wsi_lpd.types import Size, UInt8Array

REDUCTIONS: Final = (2, 4, 8)
"""Factors by which a JPEG decoder can shrink a tile while decoding."""

_REDUCED: Final = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_SOI_BYTES: Final = 2
_EOI_BYTES: Final = 2
_ADOBE: Final = {
    "RGB": bytes.fromhex("ffee000e41646f626500640000000000"),
    "YCBCR": bytes.fromhex("ffee000e41646f626500640000000001"),
}
"""The APP14 segment states the colour space to the decoder; TIFF stores it outside the JPEG stream."""


@dataclass(frozen=True)
class NativeLevel:
    """The positions of the tiles of one level in the file, row by row.

    Attributes:
        size_px: Width and height of the level.
        tile_px: Width and height of a tile.
        offsets: First byte of each tile; slides have up to a million, and arrays take a fifth of the memory of tuples.
        counts: Bytes of each tile.
        tables: JPEG tables shared by all tiles, or None if each tile has its own.
        colours: Colour space of the JPEG stream.
    """

    size_px: Size
    tile_px: Size
    offsets: array[int]
    counts: array[int]
    tables: bytes | None
    colours: Literal["RGB", "YCBCR"]

    @property
    def columns(self) -> int:
        """Number of tiles in a row."""
        return -(-self.size_px.width // self.tile_px.width)

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return -(-self.size_px.height // self.tile_px.height)

    @property
    def has_holes(self) -> bool:
        """Whether a tile is missing; the base reader decides what is shown there."""
        return len(self.counts) != self.columns * self.rows or 0 in self.counts

    def decoded(self, data: bytes, index: int, *, reduction: int) -> UInt8Array:
        """One tile as RGB, its sides divided by `reduction` (1 or one of `REDUCTIONS`).

        Args:
            data: Its bytes.
            index: Its number, row by row. The content of an edge tile beyond the level is undefined, often black; where
                a result pixel would partly cover it, the level's last pixels are repeated instead.
            reduction: See above.

        Raises:
            RuntimeError: If the tile is damaged (`imagecodecs.Jpeg8Error`).
            ValueError: If it is not a JPEG or has an unexpected size.
        """
        if reduction == 1:
            pixels = self._whole(data)
        elif self._ends_inside_a_pixel(index, reduction):
            pixels = self._averaged(data, index, reduction)
        else:
            pixels = self._reduced(data, reduction)
        expected = (self.tile_px.height // reduction, self.tile_px.width // reduction, 3)
        if pixels.shape != expected:
            raise ValueError(f"a tile has the shape {pixels.shape}; expected {expected}")
        return pixels

    def _whole(self, data: bytes) -> UInt8Array:
        decoded = imagecodecs.jpeg8_decode(data, tables=self.tables, colorspace=self.colours, outcolorspace="RGB")
        return np.asarray(decoded)

    def _rest(self, index: int) -> tuple[int, int]:
        """Width and height of the part of the level to the right of and below a tile's top-left corner."""
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
            raise ValueError("a tile is not a JPEG")
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
