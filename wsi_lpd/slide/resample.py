"""Reading a region at any scale: the nearest finer level, averaged over areas, in blocks that memory can hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from wsi_lpd.images.resize import resize
from wsi_lpd.slide.readers.reader import Level, SlideReader
from wsi_lpd.types import Box, Size, UInt8Array

_LEVEL_TOLERANCE = 0.01
"""A level counts as finer up to one per cent too coarse: halving odd sizes makes 2.0005 of 2, and reading level 0
instead would cost four times as much for a change nobody can see."""

_LEAST_SECOND_FACTOR = 1.9
"""See `choose_source`; scanners of 40x state 0.2450 to 0.2530 um/px, which is 1.0 um/px at two times 1.97 to 2.04."""

_BLOCK_PX = 3072
"""Longest side of the source pixels held at once (28 MB), whatever the region and the level."""


def choose_level(levels: Sequence[Level], downsample: float) -> int:
    """Index of the coarsest level that is still fine enough for `downsample` level-0 pixels per output pixel."""
    fine_enough = [i for i, level in enumerate(levels) if level.downsample <= downsample * (1 + _LEVEL_TOLERANCE)]
    return max(fine_enough, key=lambda i: levels[i].downsample, default=0)


def choose_source(reader: SlideReader, downsample: float) -> int:
    """Index into the sources of `reader` of the one to average from.

    Averaging twice blurs where the second factor lies between one and two: pixels of a result then share pixels of the
    source by halves. On a real slide a source is off by 1.5 to 2.7 of 255 there, at a factor of two or more by at
    most 0.8 (a shift by a quarter pixel: 4). So a level of the file is good enough at any factor, as everywhere, but
    what the reader makes of a finer one only where it costs nothing.
    """
    n_levels = len(reader.levels)
    fitting = [
        i for i, source in enumerate(reader.sources) if i < n_levels or _averages_well(downsample / source.downsample)
    ]
    return fitting[choose_level([reader.sources[i] for i in fitting], downsample)]


def _averages_well(factor: float) -> bool:
    return abs(factor - 1) <= _LEVEL_TOLERANCE or factor >= _LEAST_SECOND_FACTOR


def read_area(reader: SlideReader, box: Box, size_px: Size) -> UInt8Array:
    """Pixels of `box` (level-0 pixels, may reach past the slide) as an RGB image (height, width, 3) of `size_px`.

    The edges of the region, and of the blocks it is read in, are rounded to pixels of the level that is read: the
    picture is at most half such a pixel off.
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
    """Cuts one axis into blocks: which output pixels, from which pixels of a level that is `scale` times as long."""
    n_blocks = max(1, min(out_px, -(-int(length_px * scale) // _BLOCK_PX)))
    borders = [round(i * out_px / n_blocks) for i in range(n_blocks + 1)]
    edges = [round((start_px + border * length_px / out_px) * scale) for border in borders]
    for i in range(n_blocks):
        # Less than one source pixel (a large magnification): that pixel.
        yield slice(borders[i], borders[i + 1]), slice(edges[i], max(edges[i + 1], edges[i] + 1))


def _read_padded(reader: SlideReader, index: int, columns: slice, rows: slice) -> UInt8Array:
    """A region of a level; what lies outside the slide has the background colour."""
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
