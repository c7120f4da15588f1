"""Writes the slide and its truth as tiled TIFF, block by block: memory does not grow with the slide's height."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import cv2
import imagecodecs
import numpy as np
import tifffile

from wsi_lpd.progress import Advance
from wsi_lpd.types import Size, UInt8Array

from .painter import BLOCK_PX, Block

TILE_PX: Final = 256
DOWNSAMPLES: Final = (1, 4, 16)
JPEG_QUALITY: Final = 80

_BIG_FROM_PX: Final = 1_500_000_000
"""Slides with more pixels are written as BigTIFF: at two bytes per pixel (JPEG needs less) they would exceed 4 GB."""


@dataclass(frozen=True)
class EncodedBlock:
    """The compressed form of one block."""

    tiles: list[list[bytes]]
    """Level-0 tiles, by row."""
    middle_tile: bytes
    """The one tile of the level with downsample 4."""
    coarse: UInt8Array
    """Pixels of the level with downsample 16, (64, 64, 3)."""
    truth: bytes


class Spill:
    """A temporary file with the encoded tiles of a level that is written later."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `tiles`)
        self._sizes: list[int] = []

    def add(self, tile: bytes) -> None:
        """Adds a tile; tiles must arrive in the order of the level."""
        self._file.write(tile)
        self._sizes.append(len(tile))

    def tiles(self) -> Iterator[bytes]:
        """Yields all tiles; can be called once."""
        self._file.seek(0)
        for size in self._sizes:
            yield self._file.read(size)
        self._file.close()


def encode_block(block: Block, truth_downsample: int) -> EncodedBlock:
    """Compresses a block and its part of the lower levels and of the truth."""
    tiles = [
        [jpeg(block.rgb[y : y + TILE_PX, x : x + TILE_PX]) for x in range(0, BLOCK_PX, TILE_PX)]
        for y in range(0, BLOCK_PX, TILE_PX)
    ]
    middle = _quartered(block.rgb)
    coarse = _quartered(middle)
    centre = truth_downsample // 2
    truth = np.ascontiguousarray(block.classes[centre::truth_downsample, centre::truth_downsample])
    return EncodedBlock(tiles, jpeg(middle), coarse, bytes(imagecodecs.zlib_encode(truth.tobytes(), level=6)))


def _quartered(rgb: UInt8Array) -> UInt8Array:
    """The mean of every 4 x 4 pixels."""
    return np.asarray(cv2.resize(rgb, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(tile: UInt8Array) -> bytes:
    """One JPEG tile, colour at half resolution as scanners do."""
    return bytes(
        imagecodecs.jpeg_encode(
            np.ascontiguousarray(tile), level=JPEG_QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling="420"
        )
    )


class SlideWriter:
    """Writes encoded blocks, given row by row, as the levels of the slide and the truth image."""

    def __init__(self, size_px: Size, folder: Path) -> None:
        self._size = size_px
        self._folder = folder
        self._middle = Spill(folder)
        self._coarse = Spill(folder)
        self._truth = Spill(folder)
        self._coarse_rows: list[UInt8Array] = []

    def write_slide(self, path: Path, blocks: Iterator[EncodedBlock], description: str, mpp: float) -> None:
        """Writes the three levels; consumes `blocks` while writing level 0."""
        big = self._size.width * self._size.height > _BIG_FROM_PX
        with tifffile.TiffWriter(path, bigtiff=big) as tiff:
            levels = zip(DOWNSAMPLES, (self._level_0(blocks), self._middle.tiles(), self._coarse.tiles()), strict=True)
            for downsample, tiles in levels:
                tiff.write(
                    tiles,
                    shape=(self._size.height // downsample, self._size.width // downsample, 3),
                    dtype=np.uint8,
                    tile=(TILE_PX, TILE_PX),
                    photometric="ycbcr",
                    subsampling=(2, 2),
                    compression="jpeg",
                    subfiletype=0 if downsample == 1 else 1,
                    description=description,
                    metadata=None,
                    software=False,
                    resolution=(1e4 / (mpp * downsample), 1e4 / (mpp * downsample)),
                    resolutionunit="CENTIMETER",
                )

    def write_truth(self, path: Path, mpp: float, downsample: int, colors: UInt8Array, description: str) -> None:
        """Writes the truth image; call after `write_slide`."""
        side = BLOCK_PX // downsample
        with tifffile.TiffWriter(path) as tiff:
            tiff.write(
                self._truth.tiles(),
                shape=(-(-self._size.height // downsample), -(-self._size.width // downsample)),
                dtype=np.uint8,
                tile=(side, side),
                photometric="palette",
                colormap=colors,
                compression="zlib",
                description=description,
                metadata=None,
                software=False,
                resolution=(1e4 / (mpp * downsample), 1e4 / (mpp * downsample)),
                resolutionunit="CENTIMETER",
            )

    def _level_0(self, blocks: Iterator[EncodedBlock]) -> Iterator[bytes]:
        per_row = -(-self._size.width // BLOCK_PX)
        n_rows = -(-self._size.height // BLOCK_PX)
        for row in range(n_rows):
            line = [next(blocks) for _ in range(per_row)]
            self._take_lower_levels(row, line)
            if row == n_rows - 1:  # before the last tile, since tifffile requests nothing after it
                self._flush_coarse()
            yield from self._tiles_in_order(row, line)

    def _tiles_in_order(self, row: int, line: list[EncodedBlock]) -> Iterator[bytes]:
        n_columns = -(-self._size.width // TILE_PX)
        n_rows = min(-(-self._size.height // TILE_PX) - row * BLOCK_PX // TILE_PX, BLOCK_PX // TILE_PX)
        for tile_row in range(n_rows):
            yield from [tile for block in line for tile in block.tiles[tile_row]][:n_columns]

    def _take_lower_levels(self, row: int, line: list[EncodedBlock]) -> None:
        middle_width, middle_height = self._size.width // 4, self._size.height // 4
        for column, block in enumerate(line):
            if column * TILE_PX < middle_width and row * TILE_PX < middle_height:
                self._middle.add(block.middle_tile)
            self._truth.add(block.truth)
        self._coarse_rows.append(np.concatenate([block.coarse for block in line], axis=1))
        if sum(len(rows) for rows in self._coarse_rows) == TILE_PX:
            self._flush_coarse()

    def _flush_coarse(self) -> None:
        """Encodes a row of tiles of the coarsest level; the last row may be partly filled."""
        if not self._coarse_rows:
            return
        rows = np.concatenate(self._coarse_rows)
        self._coarse_rows = []
        width, n_tiles = rows.shape[1], -(-(self._size.width // 16) // TILE_PX)
        padded = np.pad(rows, ((0, TILE_PX - len(rows)), (0, max(n_tiles * TILE_PX - width, 0)), (0, 0)), mode="edge")
        for column in range(n_tiles):
            self._coarse.add(jpeg(padded[:, column * TILE_PX : (column + 1) * TILE_PX]))


def blocks_in_order(
    size_px: Size, make: Callable[[int, int], EncodedBlock], pool: ThreadPoolExecutor, window: int, advance: Advance
) -> Iterator[EncodedBlock]:
    """Computes all blocks in threads and yields them row by row; at most `window` are pending at a time."""
    n_columns, n_rows = -(-size_px.width // BLOCK_PX), -(-size_px.height // BLOCK_PX)
    waiting: deque[Future[EncodedBlock]] = deque()
    for number in range(n_columns * n_rows):
        if len(waiting) == window:
            yield waiting.popleft().result()
            advance(1)
        waiting.append(pool.submit(make, number % n_columns, number // n_columns))
    while waiting:
        yield waiting.popleft().result()
        advance(1)
