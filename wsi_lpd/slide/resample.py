"""Reads a region at any scale: the nearest finer level, averaged over areas, in blocks of limited size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from wsi_lpd.images.resize import resize
from wsi_lpd.slide.readers.reader import Level, SlideReader
from wsi_lpd.types import Box, Size, UInt8Array

_LEVEL_TOLERANCE = 0.01
"""A level up to one per cent too coarse still counts as finer: halving odd sizes turns 2 into 2.0005, and reading level
0 instead would cost four times as much for an invisible difference."""

_LEAST_SECOND_FACTOR = 1.9
"""See `choose_source`; 40x scanners state 0.2450 to 0.2530 um/px, so 1.0 um/px is two factors of 1.97 to 2.04."""

_BLOCK_PX = 3072
"""Longest side of the source pixels held at a time (28 MB), whatever the region and the level."""


def choose_level(levels: Sequence[Level], downsample: float) -> int:
    """Index of the coarsest level that is fine enough for `downsample` level-0 pixels per output pixel."""
    fine_enough = [i for i, level in enumerate(levels) if level.downsample <= downsample * (1 + _LEVEL_TOLERANCE)]
    return max(fine_enough, key=lambda i: levels[i].downsample, default=0)


def choose_source(reader: SlideReader, downsample: float) -> int:
    """Index of the entry of `reader.sources` to average from.

    Averaging twice blurs if the second factor is between one and two, because result pixels then share source pixels.
    On a real slide the mean error was 1.5 to 2.7 grey levels there, but at most 0.8 for a factor of two or more (a
    shift by a quarter pixel: 4). So a level of the file is used at any factor, as is common practice, but a size that
    the reader reduces from a finer level only where the second factor causes no such blur.
    """
    n_levels = len(reader.levels)
    suitable = [
        i for i, source in enumerate(reader.sources) if i < n_levels or _averages_well(downsample / source.downsample)
    ]
    return suitable[choose_level([reader.sources[i] for i in suitable], downsample)]


def _averages_well(factor: float) -> bool:
    return abs(factor - 1) <= _LEVEL_TOLERANCE or factor >= _LEAST_SECOND_FACTOR


def read_area(reader: SlideReader, box: Box, size_px: Size) -> UInt8Array:
    """Pixels of `box` (level-0 pixels, may extend beyond the slide) as an RGB image (height, width, 3) of `size_px`.

    The edges of the region, and of the blocks it is read in, are rounded to pixels of the level that is read, so the
    image is shifted by at most half such a pixel.
    """
    downsample = min(box.width / size_px.width, box.height / size_px.height)
    index = choose_source(reader, downsample)
    (width, height), slide = reader.sources[index].extent_px, reader.levels[0].size_px
    columns = list(_blocks(box.x, box.width, size_px.width, width / slide.width))
    rows = list(_blocks(box.y, box.height, size_px.height, height / slide.height))
    image = np.empty((size_px.height, size_px.width, 3), np.uint8)
    for out_y, source_y in rows:
        for out_x, source_x in columns:
            source = _read_padded(reader, index, source_x, source_y)
            image[out_y, out_x] = resize(source, Size(out_x.stop - out_x.start, out_y.stop - out_y.start))
    return image


def _blocks(start_px: int, length_px: int, out_px: int, scale: float) -> Iterator[tuple[slice, slice]]:
    """Splits one axis into blocks: output pixels, and their source pixels in a level that is `scale` times as long."""
    n_blocks = max(1, min(out_px, -(-int(length_px * scale) // _BLOCK_PX)))
    borders = [round(i * out_px / n_blocks) for i in range(n_blocks + 1)]
    edges = [round((start_px + border * length_px / out_px) * scale) for border in borders]
    for i in range(n_blocks):
        # At a high magnification a block may cover less than one source pixel: read that pixel.
        yield slice(borders[i], borders[i + 1]), slice(edges[i], max(edges[i + 1], edges[i] + 1))


def _read_padded(reader: SlideReader, index: int, columns: slice, rows: slice) -> UInt8Array:
    """A region of a level, padded with the background colour outside the slide."""
    size = reader.sources[index].size_px
    left, right = max(columns.start, 0), min(columns.stop, size.width)
    top, bottom = max(rows.start, 0), min(rows.stop, size.height)
    inside = left < right and top < bottom
    if inside and (left, right, top, bottom) == (columns.start, columns.stop, rows.start, rows.stop):
        return reader.read_region(left, top, index, right - left, bottom - top)
    canvas = np.empty((rows.stop - rows.start, columns.stop - columns.start, 3), np.uint8)
    canvas[:] = reader.background
    if inside:
        part = reader.read_region(left, top, index, right - left, bottom - top)
        canvas[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = part
    return canvas
