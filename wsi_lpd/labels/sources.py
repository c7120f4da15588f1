"""Labelled patches: functions that read label sources, pixels and masks."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_lpd.errors import LabelError
from wsi_lpd.images.files import read_image, read_index_mask
from wsi_lpd.labels.class_names import check_class_names
from wsi_lpd.labels.csv_files import read_label_csv
from wsi_lpd.labels.folders import read_label_folder, split_folder
from wsi_lpd.labels.table import UNKNOWN, LabelTable, MaskSource, PatchSource, class_balance, join
from wsi_lpd.stores.patches import PatchStore
from wsi_lpd.types import IGNORE, UInt8Array

__all__ = [
    "UNKNOWN",
    "LabelTable",
    "MaskSource",
    "PatchSource",
    "class_balance",
    "read_labels",
    "read_patches",
    "read_truth_masks",
    "split_folder",
]

_OPEN_STORES = 256


def read_labels(paths: Sequence[Path], *, classes: Sequence[str] | None = None) -> LabelTable:
    """Reads label files and folders into one table.

    Args:
        paths: CSV files over stores or images, and folders of patches with multi-hot names.
        classes: Class names in order. For a CSV file they select the columns; for a folder they name the digits (and
            the mask values). By default all class columns of a CSV, or the classes of the recognised data set.

    Raises:
        LabelError: If nothing is labelled or a source is invalid; lists all problems with file and line.
    """
    if not paths:
        raise LabelError("no label source was given; pass a patches.csv or a folder of labelled patches")
    if classes is not None:
        check_class_names(classes, where="--classes")
    tables = [_read_source(path, classes) for path in paths]
    table = join(tables, names=[str(path) for path in paths])
    check_class_names(table.classes, where=", ".join(map(str, paths)))
    return table


def read_patches(table: LabelTable, indices: Sequence[int] | NDArray[np.integer]) -> UInt8Array:
    """Pixels of the patches at `indices`, in that order; RGB (n, S, S, 3).

    Safe for several threads and processes; a store is opened once per process.

    Raises:
        StoreError: If a store is damaged.
        LabelError: If an image cannot be read.
    """
    if table.patch_px is None:
        raise LabelError("the table states no patch size")
    side = table.patch_px
    out = np.empty((len(indices), side, side, 3), np.uint8)
    in_store: dict[Path, list[tuple[int, int]]] = defaultdict(list)
    for place, i in enumerate(indices):
        source = table.sources[int(i)]
        if source.index is None:
            out[place] = read_image(source.path, side)
        else:
            in_store[source.path].append((place, source.index))
    for path, wanted in in_store.items():
        places, within = zip(*wanted, strict=True)
        out[list(places)] = open_store(path).read(within)
    return out


def read_truth_masks(table: LabelTable, indices: Sequence[int] | NDArray[np.integer]) -> UInt8Array:
    """Label maps (n, S, S) of the patches at `indices`: class i has the value i + 1, pixels without annotation 255.

    Raises:
        LabelError: If a patch has no mask, or it cannot be read.
    """
    if table.truth_masks is None or table.patch_px is None:
        raise LabelError("the label sources have no masks; pass a folder with img/ and mask/")
    side = table.patch_px
    out = np.empty((len(indices), side, side), np.uint8)
    for place, i in enumerate(indices):
        mask = table.truth_masks[int(i)]
        if mask is None:
            raise LabelError(f"{table.sources[int(i)].path}: has no mask")
        meaning = np.full(256, IGNORE, np.uint8)
        meaning[: len(mask.order)] = np.array(mask.order, np.uint8) + 1
        label_map = meaning[read_index_mask(mask.path)]
        if label_map.shape != (side, side):
            label_map = label_map[np.ix_(*(_nearest(length, side) for length in label_map.shape))]
        out[place] = label_map
    return out


def _nearest(length: int, side: int) -> NDArray[np.integer]:
    """Nearest-neighbour indices that resample an axis of `length` pixels to `side` pixels, (side,)."""
    return ((np.arange(side) + 0.5) * length / side).astype(np.int64)


@functools.lru_cache(maxsize=_OPEN_STORES)
def open_store(path: Path) -> PatchStore:
    """The store at a path, opened once per process."""
    return PatchStore.open(path)


def _read_source(path: Path, classes: Sequence[str] | None) -> LabelTable:
    if path.is_dir():
        if (path / "zarr.json").is_file():
            raise LabelError(f"{path}: is a patch store, which has no labels; pass the patches.csv beside it")
        return read_label_folder(path, classes=classes)
    if not path.exists():
        raise LabelError(f"{path}: no such file or folder")
    return read_label_csv(path, classes=classes)
