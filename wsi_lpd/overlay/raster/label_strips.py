"""Label maps in strips, which need not be held in memory as a whole.

Strips are uint8 (rows, W), from top to bottom, of any height; every pass iterates over them again. A map in memory is a
list of one strip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from wsi_lpd.types import Int64Array, UInt8Array

LabelStrips = Iterable[UInt8Array]


def label_counts(strips: LabelStrips) -> Int64Array:
    """How often each label occurs, (256,)."""
    counts = np.zeros(256, np.int64)
    for strip in strips:
        counts += np.bincount(strip.reshape(-1), minlength=256)
    return counts


def map_size(strips: LabelStrips) -> tuple[int, int]:
    """Height and width of the map."""
    shapes = [strip.shape for strip in strips]
    return sum(rows for rows, _ in shapes), shapes[0][1]


def sampled(strips: LabelStrips, height: int, width: int) -> UInt8Array:
    """The map resampled to (`height`, `width`) by nearest neighbour, without blending labels."""
    full_height, full_width = map_size(strips)
    rows, columns = _middles(full_height, height), _middles(full_width, width)
    labels = np.empty((height, width), np.uint8)
    top = 0
    for strip in strips:
        first, end = np.searchsorted(rows, (top, top + len(strip)))
        labels[first:end] = strip[rows[first:end] - top][:, columns]
        top += len(strip)
    return labels


def every_nth(strips: LabelStrips, step: int) -> Iterator[UInt8Array]:
    """Every `step`-th row and column of the map, starting with the first, as strips; some may be empty."""
    top = 0
    for strip in strips:
        yield strip[-top % step :: step, ::step]
        top += len(strip)


def of_height(strips: LabelStrips, height: int) -> Iterator[UInt8Array]:
    """The map in strips of `height` rows each; the last one may be lower."""
    for (rows,) in rows_of_height(((strip,) for strip in strips), height):
        yield rows


def rows_of_height(strips: Iterable[tuple[UInt8Array, ...]], height: int) -> Iterator[tuple[UInt8Array, ...]]:
    """Arrays (..., rows, W) that belong to the same rows, cut anew into strips of `height` rows; the last may be lower.

    Args:
        strips: From top to bottom, of any number of rows, none included.
        height: Rows of a strip.
    """
    held: list[tuple[UInt8Array, ...]] = []
    n_rows = 0
    for strip in strips:
        while n_rows + strip[0].shape[-2] >= height:
            rest = height - n_rows
            yield _stacked([*held, tuple(part[..., :rest, :] for part in strip)])
            held, n_rows, strip = [], 0, tuple(part[..., rest:, :] for part in strip)
        if strip[0].shape[-2]:
            held.append(strip)
            n_rows += strip[0].shape[-2]
    if n_rows:
        yield _stacked(held)


def _stacked(strips: Sequence[tuple[UInt8Array, ...]]) -> tuple[UInt8Array, ...]:
    if len(strips) == 1:
        return strips[0]
    return tuple(np.concatenate(parts, axis=-2) for parts in zip(*strips, strict=True))


def tiles(strips: LabelStrips, tile_px: int) -> Iterator[UInt8Array]:
    """The map as tiles (tile_px, tile_px), row by row, padded with 0 beyond its edges. Holds one row of tiles."""
    for rows in of_height(strips, tile_px):
        height, width = rows.shape
        padded = np.pad(rows, ((0, tile_px - height), (0, -width % tile_px)))
        for left in range(0, width, tile_px):
            yield np.ascontiguousarray(padded[:, left : left + tile_px])


def _middles(n_from: int, n_to: int) -> Int64Array:
    """Nearest-neighbour indices that resample `n_from` pixels to `n_to`, (n_to,)."""
    middles: Int64Array = (2 * np.arange(n_to, dtype=np.int64) + 1) * n_from // (2 * n_to)
    return middles
