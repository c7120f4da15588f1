"""TIFF slides with JPEG tiles, decoded tile by tile without a detour.

OpenSlide turns every tile into premultiplied BGRA and draws it onto a canvas, under the lock of a cache; the decoder
itself could go several times as fast. This reader stands before another one (the base), whose word on levels,
properties and frames it keeps. It hands out the pixels of the levels that it can read itself, and leaves everything
else to the base: other compressions, layouts that are not one plain grid of tiles, and regions that fail to decode.

A JPEG decoder can also hand out a tile at a half, a quarter or an eighth of its size in less time than the whole. It
then computes only the low frequencies of each block, nearly the mean over areas (docs/performance.md). These sizes are
further `sources`, behind the levels.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import tifffile

from wsi_lpd.errors import SlideError
from wsi_lpd.slide.native_level import REDUCTIONS, NativeLevel
from wsi_lpd.slide.reader import Level, PerProcess, SlideReader
from wsi_lpd.slide.tile_cache import TileCache
from wsi_lpd.types import Size, UInt8Array

PLAIN_VENDORS: Final = frozenset({"aperio", "generic-tiff", "philips"})
"""Formats whose levels are plain grids of tiles. Tiles of BIF and Trestle overlap, an SCN level has several areas."""

CACHE_BYTES: Final = 128 * 2**20
"""Holds the tiles on the border of a band of reads across 100,000 px (256-px tiles: 77 MB), with room to spare."""

_JPEG: Final = 7
_RGB: Final = 2
_YCBCR: Final = 6
_SAME_SCALE: Final = 0.99
_CHECK_TOLERANCE: Final = 3.0
"""Mean difference of a tile from the base's, of 255. Decoders differ by their rounding, below 1; a wrong colour space
or a shifted grid differs by tens."""


@dataclass(frozen=True)
class Source:
    """Where the pixels of an entry of `sources` come from: a level of the file, and how much smaller it is decoded."""

    level: int
    reduction: int


class NativeTiffReader:
    """The pixels of JPEG tiles, and all else from `base`; see the module."""

    name = "native"

    def __init__(self, base: SlideReader, native: tuple[NativeLevel | None, ...]) -> None:
        """`native` has an entry per level of `base`; None is left to it."""
        self.location = base.location
        self.vendor = base.vendor
        self.levels: tuple[Level, ...] = base.levels
        self.background = base.background
        self.properties: Mapping[str, str] = base.properties
        self.associated = base.associated
        self._native = native
        self._base = base
        self._from = (
            *(Source(i, 1) for i in range(len(base.levels))),
            *(Source(i, reduction) for i in range(len(native)) for reduction in _useful_reductions(base, native, i)),
        )
        self.sources = tuple(_level_at(base.levels[source.level], source.reduction) for source in self._from)
        self._files = PerProcess(functools.partial(_TileFile, base.location))

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """See `SlideReader`."""
        level, reduction = self._from[source].level, self._from[source].reduction
        native = self._native[level]
        if native is not None:
            try:
                return _assembled(self._files.get(), native, Source(level, reduction), x, y, width, height)
            except (OSError, RuntimeError, ValueError):
                pass  # the base reads it after all, or says what is wrong
        if reduction == 1:
            return self._base.read_region(x, y, level, width, height)
        return self._reduced_by_hand(x, y, Source(level, reduction), width, height)

    def close(self) -> None:
        """See `SlideReader`."""
        file = self._files.pop()
        if file is not None:
            file.close()
        self._base.close()

    def _reduced_by_hand(self, x: int, y: int, source: Source, width: int, height: int) -> UInt8Array:
        """From the base, averaged; at the edge of the level there may be less than a whole pixel to average."""
        factor, size = source.reduction, self.levels[source.level].size_px
        right, bottom = min((x + width) * factor, size.width), min((y + height) * factor, size.height)
        pixels = self._base.read_region(x * factor, y * factor, source.level, right - x * factor, bottom - y * factor)
        resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        return resized.astype(np.uint8, copy=False)


class _TileFile:
    """An open file and the tiles that were lately decoded from it."""

    def __init__(self, location: str) -> None:
        self._descriptor = os.open(location, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._seeking = threading.Lock()
        self._cache: TileCache[tuple[Source, int]] = TileCache(CACHE_BYTES)

    def tile(self, native: NativeLevel, source: Source, index: int, *, keep: bool) -> UInt8Array:
        """A decoded tile, shared with others; `keep` says that a neighbouring region will ask for it too."""
        return self._cache.get(
            (source, index),
            lambda: native.decoded(self._bytes(native, index), index, reduction=source.reduction),
            keep=keep,
        )

    def close(self) -> None:
        os.close(self._descriptor)

    def _bytes(self, native: NativeLevel, index: int) -> bytes:
        count, offset = native.counts[index], native.offsets[index]
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, count, offset)
        with self._seeking:  # Windows
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, count)


def _assembled(
    file: _TileFile, native: NativeLevel, source: Source, x: int, y: int, width: int, height: int
) -> UInt8Array:
    """A region that lies inside a native level, in pixels of the source; damage raises what the decoder raises."""
    out = np.empty((height, width, 3), np.uint8)
    tile_width, tile_height = (side // source.reduction for side in native.tile_px)
    for row in range(y // tile_height, (y + height - 1) // tile_height + 1):
        top = row * tile_height - y
        for column in range(x // tile_width, (x + width - 1) // tile_width + 1):
            left = column * tile_width - x
            is_shared = min(left, top) < 0 or left + tile_width > width or top + tile_height > height
            pixels = file.tile(native, source, row * native.columns + column, keep=is_shared)
            into = out[max(top, 0) : top + tile_height, max(left, 0) : left + tile_width]
            into[:] = pixels[max(-top, 0) :, max(-left, 0) :][: into.shape[0], : into.shape[1]]
    return out


def native_reader(base: SlideReader) -> tuple[NativeTiffReader | None, str]:
    """The reader for the JPEG tiles of the file that `base` has open, if there are any.

    Returns:
        The reader, or None; and why, in words.
    """
    if base.vendor not in PLAIN_VENDORS:
        return None, f"tiles of the format {base.vendor} are no plain grid"
    try:
        with tifffile.TiffFile(base.location) as tiff:
            found = [_level_of(tiff, level) for level in base.levels]
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, MemoryError) as err:
        return None, f"tifffile cannot read its directory ({' '.join(str(err).split())[:120]})"
    native = tuple(level if level is not None and _agrees(base, i, level) else None for i, level in enumerate(found))
    if native[0] is None:
        return None, "its full resolution is no plain grid of JPEG tiles"
    n_left = native.count(None)
    rest = f", {n_left} of {len(native)} levels through {base.name}" if n_left else ""
    return NativeTiffReader(base, native), f"JPEG tiles are decoded directly{rest}"


def _level_of(tiff: tifffile.TiffFile, level: Level) -> NativeLevel | None:
    """The one grid of JPEG tiles that has the size of `level`; None if there is none, or more than one."""
    fitting = [page for page in _pages(tiff) if (page.imagewidth, page.imagelength) == level.size_px]
    if len(fitting) != 1 or not _is_plain_jpeg(fitting[0]):
        return None
    (page,) = fitting
    native = NativeLevel(
        size_px=level.size_px,
        tile_px=Size(page.tilewidth, page.tilelength),
        offsets=tuple(page.dataoffsets),
        counts=tuple(page.databytecounts),
        tables=page.jpegtables,
        colours="RGB" if page.photometric == _RGB else "YCBCR",
    )
    return None if native.has_holes else native


def _pages(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    for page in tiff.pages:
        whole = page.aspage()
        yield whole
        for inner in whole.pages or ():
            yield inner.aspage()


def _is_plain_jpeg(page: tifffile.TiffPage) -> bool:
    return bool(
        page.is_tiled
        and page.compression == _JPEG
        and page.photometric in (_RGB, _YCBCR)
        and page.samplesperpixel == 3
        and page.bitspersample == 8
        and page.planarconfig == 1
        and page.imagedepth == 1
    )


def _agrees(base: SlideReader, level: int, native: NativeLevel) -> bool:
    """Whether the tile in the middle is what the base says: colours, tables and the place of the grid are right."""
    column, row = (native.columns - 1) // 2, (native.rows - 1) // 2
    x, y = column * native.tile_px.width, row * native.tile_px.height
    width, height = (
        min(native.tile_px.width, native.size_px.width - x),
        min(native.tile_px.height, native.size_px.height - y),
    )
    try:
        with closing(_TileFile(base.location)) as file:
            ours = _assembled(file, native, Source(level, 1), x, y, width, height)
        theirs = base.read_region(x, y, level, width, height)
    except (OSError, RuntimeError, ValueError, SlideError):
        return False
    return float(np.abs(ours.astype(np.int16) - theirs).mean()) <= _CHECK_TOLERANCE


def _useful_reductions(base: SlideReader, native: Sequence[NativeLevel | None], level: int) -> Iterator[int]:
    """Reductions of a level that are finer than the next level of the file, which is cheaper to read."""
    here = base.levels[level].downsample
    coarser = min((other.downsample for other in base.levels if other.downsample > here), default=math.inf)
    if native[level] is not None:
        yield from (reduction for reduction in REDUCTIONS if here * reduction < coarser * _SAME_SCALE)


def _level_at(level: Level, reduction: int) -> Level:
    if reduction == 1:
        return level
    width, height = (-(-side // reduction) for side in level.size_px)
    return Level(Size(width, height), level.downsample * reduction, reduction, level.size_px)
