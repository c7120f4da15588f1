"""Assembles regions from the JPEG tiles of a file; a tile shared by several regions is decoded once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wsi_lpd.slide.readers.byte_source import ByteSource, LocalFile
from wsi_lpd.slide.readers.native_level import NativeLevel
from wsi_lpd.slide.readers.tile_cache import TileCache
from wsi_lpd.types import UInt8Array

MOST_KEPT_BYTES: Final = 96 * 2**20
"""Enough for the border tiles of a band of reads across 100,000 px (256-px tiles: 77 MB), with a margin."""

_SPARE: Final = 1.25
"""Capacity for border tiles, as a multiple of a row of tiles across the slide. A larger cache would fill with tiles
that are never requested again, and memory would grow with the height of the slide."""

PASSING_BYTES: Final = 32 * 2**20
"""Holds the inner tiles of two reads of 2,048 px a side; more rarely helps, since most reads only touch."""


@dataclass(frozen=True)
class Source:
    """Origin of an entry of `sources`: a level of the file and the reduction at which it is decoded."""

    level: int
    reduction: int


class NativeTiles:
    """The tiles of an open file, with a cache of recently decoded ones; thread-safe."""

    def __init__(self, file: ByteSource) -> None:
        self._file = file
        self._cache: TileCache[tuple[Source, int]] = TileCache(kept_bytes=0, passing_bytes=PASSING_BYTES)

    def region(self, native: NativeLevel, source: Source, x: int, y: int, width: int, height: int) -> UInt8Array:
        """A region that lies inside a level, in pixels of the source, as RGB (height, width, 3).

        Raises:
            OSError: If the file is truncated within a tile.
            RuntimeError: If a tile is damaged; see `NativeLevel.decoded`.
            ValueError: If a tile is not a JPEG or has an unexpected size.
            RemoteError: If a remote file cannot be read.
        """
        out = np.empty((height, width, 3), np.uint8)
        tile_width, tile_height = (side // source.reduction for side in native.tile_px)
        row_bytes = native.columns * tile_width * tile_height * 3
        self._cache.hold(min(round(_SPARE * row_bytes) + PASSING_BYTES // 4, MOST_KEPT_BYTES))
        corners, wanted = [], []
        for row in range(y // tile_height, (y + height - 1) // tile_height + 1):
            top = row * tile_height - y
            for column in range(x // tile_width, (x + width - 1) // tile_width + 1):
                left = column * tile_width - x
                is_shared = min(left, top) < 0 or left + tile_width > width or top + tile_height > height
                corners.append((left, top))
                wanted.append((row * native.columns + column, is_shared))
        for (left, top), pixels in zip(corners, self._decoded(native, source, wanted), strict=True):
            into = out[max(top, 0) : top + tile_height, max(left, 0) : left + tile_width]
            into[:] = pixels[max(-top, 0) :, max(-left, 0) :][: into.shape[0], : into.shape[1]]
        return out

    def _decoded(self, native: NativeLevel, source: Source, wanted: Sequence[tuple[int, bool]]) -> Iterable[UInt8Array]:
        """Tiles by number, each with whether a neighbouring region will need it too.

        Local tiles are read one by one, remote ones in one batch.
        """
        file = self._file
        if isinstance(file, LocalFile):
            return (self._local(file, native, source, index, keep) for index, keep in wanted)

        def fetch(keys: list[tuple[Source, int]]) -> list[Callable[[], UInt8Array]]:
            came = file.read_all([(native.offsets[index], native.counts[index]) for _, index in keys])
            return [
                functools.partial(native.decoded, data, index, reduction=source.reduction)
                for (_, index), data in zip(keys, came, strict=True)
            ]

        return self._cache.get_together([((source, index), keep) for index, keep in wanted], fetch)

    def _local(self, file: LocalFile, native: NativeLevel, source: Source, index: int, keep: bool) -> UInt8Array:
        offset, count = native.offsets[index], native.counts[index]
        return self._cache.get(
            (source, index),
            lambda: native.decoded(file.read(offset, count), index, reduction=source.reduction),
            keep=keep,
        )
