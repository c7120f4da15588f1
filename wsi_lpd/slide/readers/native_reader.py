"""Decodes the JPEG tiles of TIFF slides directly.

OpenSlide converts every tile to premultiplied BGRA and draws it onto a canvas, holding the lock of its cache; the
decoder alone is several times as fast. This reader wraps another one (the base), whose levels, properties and frame it
keeps. It decodes the levels that it supports and leaves everything else to the base: other compressions, layouts that
are not one regular grid of tiles, and regions that fail to decode.

A JPEG decoder can also return a tile at a half, a quarter or an eighth of its size, in less time than at full size. It
then computes only the low frequencies of each block, which is close to the mean over areas (docs/performance.md). These
sizes are additional `sources`, after the levels.
"""

from __future__ import annotations

import functools
import gc
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import cv2
import numpy as np
import tifffile

from wsi_lpd.errors import SlideError
from wsi_lpd.process_local import PerProcess
from wsi_lpd.slide.readers.byte_source import ByteSource, LocalFile, open_source
from wsi_lpd.slide.readers.native_level import REDUCTIONS, NativeLevel
from wsi_lpd.slide.readers.native_tiles import NativeTiles, Source
from wsi_lpd.slide.readers.reader import Level, SlideReader
from wsi_lpd.slide.readers.remote_file import RemoteError
from wsi_lpd.types import Size, UInt8Array

PLAIN_VENDORS: Final = frozenset({"aperio", "generic-tiff", "philips"})
"""Formats whose levels are regular grids of tiles. Tiles of BIF and Trestle overlap; an SCN level has several areas."""

_MANY_TILES: Final = 50_000
"""tifffile's pages reference each other, so only a garbage collection (some 20 ms) frees them. They take 72 bytes per
tile."""

_JPEG: Final = 7
_RGB: Final = 2
_YCBCR: Final = 6
_SAME_SCALE: Final = 0.99
_CHECK_TOLERANCE: Final = 3.0
"""Accepted mean difference from the base reader's tile, in grey levels. Rounding of decoders differs by less than 1; a
wrong colour space or a shifted grid differs by tens."""


class NativeTiffReader:
    """Decodes JPEG tiles and takes everything else from `base`; see the module."""

    name = "native"

    def __init__(
        self, base: SlideReader, native: tuple[NativeLevel | None, ...], files: PerProcess[ByteSource]
    ) -> None:
        """`native` has one entry per level of `base`, None for levels left to it; `files` supplies the bytes."""
        self.location = base.location
        self.vendor = base.vendor
        self.levels: tuple[Level, ...] = base.levels
        self.background = base.background
        self.properties: Mapping[str, str] = base.properties
        self.associated = base.associated
        self.warnings = base.warnings
        self._native = native
        self._base = base
        self._from = (
            *(Source(i, 1) for i in range(len(base.levels))),
            *(Source(i, reduction) for i in range(len(native)) for reduction in _useful_reductions(base, native, i)),
        )
        self.sources = tuple(_level_at(base.levels[source.level], source.reduction) for source in self._from)
        self._files = files
        self._tiles = PerProcess(functools.partial(_tiles_of, files))

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """See `SlideReader`."""
        level, reduction = self._from[source].level, self._from[source].reduction
        native = self._native[level]
        if native is not None:
            try:
                return self._tiles.get().region(native, Source(level, reduction), x, y, width, height)
            except (OSError, RuntimeError, ValueError):
                pass  # the base reads the region, or raises a clear error
        if reduction == 1:
            return self._base.read_region(x, y, level, width, height)
        return self._reduced_by_hand(x, y, Source(level, reduction), width, height)

    def forget(self) -> None:
        """See `SlideReader`."""
        self._tiles.pop()

    def close(self) -> None:
        """See `SlideReader`."""
        self._tiles.pop()
        _close(self._files)
        self._base.close()

    def _reduced_by_hand(self, x: int, y: int, source: Source, width: int, height: int) -> UInt8Array:
        """Reads from the base and averages; at the edge of a level, the last pixel may cover less than a full area."""
        factor, size = source.reduction, self.levels[source.level].size_px
        right, bottom = min((x + width) * factor, size.width), min((y + height) * factor, size.height)
        pixels = self._base.read_region(x * factor, y * factor, source.level, right - x * factor, bottom - y * factor)
        resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        return resized.astype(np.uint8, copy=False)


def _tiles_of(files: PerProcess[ByteSource]) -> NativeTiles:
    return NativeTiles(files.get())


def _close(files: PerProcess[ByteSource]) -> None:
    file = files.pop()
    if file is not None:
        file.close()


def native_reader(
    base: SlideReader, files: PerProcess[ByteSource] | None = None
) -> tuple[NativeTiffReader | None, str]:
    """The native reader on top of `base`, if the file has JPEG tiles.

    Args:
        base: The reader to wrap.
        files: The bytes of the file, if `base` reads through them too.

    Returns:
        The reader, or None; and the reason as text.

    Raises:
        RemoteError: If the file is at a URL and cannot be reached or is truncated.
    """
    if base.vendor not in PLAIN_VENDORS:
        return None, f"tiles of the format {base.vendor} are not a regular grid"
    if files is not None:
        return _native_reader(base, files)
    files = PerProcess(functools.partial(open_source, base.location))
    try:
        return _native_reader(base, files)
    finally:
        _close(files)  # reopened by the first read


def _native_reader(base: SlideReader, files: PerProcess[ByteSource]) -> tuple[NativeTiffReader | None, str]:
    try:
        file = files.get()
        found = _levels(file, base.levels)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, MemoryError) as err:
        return None, f"tifffile cannot read its directory ({' '.join(str(err).split())[:120]})"
    if sum(len(level.counts) for level in found if level is not None) >= _MANY_TILES:
        gc.collect()
    native = tuple(
        level if level is not None and _agrees(base, i, level, file) else None for i, level in enumerate(found)
    )
    if native[0] is None:
        return None, "its full resolution is not a regular grid of JPEG tiles"
    n_left = native.count(None)
    rest = f", {n_left} of {len(native)} levels through {base.name}" if n_left else ""
    how = "decoded directly" if isinstance(file, LocalFile) else "read by byte ranges and decoded directly"
    return NativeTiffReader(base, native, files), f"JPEG tiles are {how}{rest}"


def _levels(file: ByteSource, levels: Sequence[Level]) -> list[NativeLevel | None]:
    """The native form of each level; None where its tiles cannot be decoded directly."""
    with tifffile.TiffFile(file.for_tifffile()) as tiff:
        return [_level_of(tiff, level) for level in levels]


def _level_of(tiff: tifffile.TiffFile, level: Level) -> NativeLevel | None:
    """The grid of JPEG tiles of the size of `level`; None unless there is exactly one."""
    fitting = [page for page in _pages(tiff) if (page.imagewidth, page.imagelength) == level.size_px]
    if len(fitting) != 1 or not _is_plain_jpeg(fitting[0]):
        return None
    (page,) = fitting
    native = NativeLevel(
        size_px=level.size_px,
        tile_px=Size(page.tilewidth, page.tilelength),
        offsets=array("q", page.dataoffsets),
        counts=array("q", page.databytecounts),
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


def _agrees(base: SlideReader, level: int, native: NativeLevel, file: ByteSource) -> bool:
    """Whether the middle tile equals the base's: checks the colour space, the JPEG tables and the grid position."""
    column, row = (native.columns - 1) // 2, (native.rows - 1) // 2
    x, y = column * native.tile_px.width, row * native.tile_px.height
    width, height = (
        min(native.tile_px.width, native.size_px.width - x),
        min(native.tile_px.height, native.size_px.height - y),
    )
    try:
        ours = NativeTiles(file).region(native, Source(level, 1), x, y, width, height)
        theirs = base.read_region(x, y, level, width, height)
    except RemoteError:
        raise
    except (OSError, RuntimeError, ValueError, SlideError):
        return False
    return float(np.abs(ours.astype(np.int16) - theirs).mean()) <= _CHECK_TOLERANCE


def _useful_reductions(base: SlideReader, native: Sequence[NativeLevel | None], level: int) -> Iterator[int]:
    """Reductions of a level that are finer than the file's next level; coarser ones would save nothing."""
    here = base.levels[level].downsample
    coarser = min((other.downsample for other in base.levels if other.downsample > here), default=math.inf)
    if native[level] is not None:
        yield from (reduction for reduction in REDUCTIONS if here * reduction < coarser * _SAME_SCALE)


def _level_at(level: Level, reduction: int) -> Level:
    if reduction == 1:
        return level
    width, height = (-(-side // reduction) for side in level.size_px)
    return Level(Size(width, height), level.downsample * reduction, reduction, level.size_px)
