"""Patches with their surroundings, taken from neighbouring patches of the same store."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from wsi_lpd.labels.sources import open_store, read_patches
from wsi_lpd.labels.table import LabelTable
from wsi_lpd.types import Int64Array, UInt8Array

_OPEN_STORES = 256


def read_surrounded(table: LabelTable, rows: list[int], margin_px: int) -> UInt8Array:
    """Patches with a margin on all sides, (n, S + 2 margin, S + 2 margin, 3).

    The margin shows neighbouring patches of the store, labelled or not. Where there are none, and around image files,
    the patch is mirrored.

    Args:
        table: Labelled patches.
        rows: Indices into the table.
        margin_px: Width of the margin, at most the side of a patch.

    Raises:
        StoreError: If a store is damaged.
        LabelError: If an image cannot be read.
    """
    edges = ((0, 0), (margin_px, margin_px), (margin_px, margin_px), (0, 0))
    windows: UInt8Array = np.pad(read_patches(table, rows), edges, mode="symmetric")
    for window, row in zip(windows, rows, strict=True):
        source = table.sources[row]
        if source.index is not None and margin_px:
            _add_neighbours(window, source.path, source.index, margin_px)
    return windows


def _add_neighbours(window: UInt8Array, path: Path, index: int, margin_px: int) -> None:
    """Fills the margin of a window from neighbouring patches, nearer ones first; skips those that add nothing."""
    places = _places(path) - _places(path)[index] + margin_px
    side = window.shape[0] - 2 * margin_px
    near = np.flatnonzero((np.abs(places - margin_px) < side + margin_px).all(axis=1))
    near = near[np.argsort(np.abs(places[near] - margin_px).sum(axis=1), kind="stable")]
    covered = np.zeros(window.shape[:2], bool)
    useful = []
    for i in near:
        here = _overlap(places[i], side, len(window))
        if not covered[here].all():
            covered[here] = True
            useful.append(int(i))
    own = slice(margin_px, margin_px + side)
    patch = window[own, own].copy()
    for i, pixels in reversed(list(zip(useful, open_store(path).read(useful), strict=True))):
        x, y = places[i]
        rows, columns = _overlap(places[i], side, len(window))
        window[rows, columns] = pixels[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    window[own, own] = patch


def _overlap(place: Int64Array, side: int, whole: int) -> tuple[slice, slice]:
    """Rows and columns that a patch at (x, y) covers in a window of side `whole`."""
    x, y = place.tolist()
    return slice(max(y, 0), min(y + side, whole)), slice(max(x, 0), min(x + side, whole))


@functools.lru_cache(maxsize=_OPEN_STORES)
def _places(path: Path) -> Int64Array:
    """Top-left corners of all patches of a store, in patch pixels, (N, 2) as x, y."""
    store = open_store(path)
    places: Int64Array = np.rint(store.coords * (store.meta.patch_px / store.meta.patch_level0_px)).astype(np.int64)
    return places
