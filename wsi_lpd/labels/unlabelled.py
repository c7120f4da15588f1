"""Patches without labels: from stores, image files, and label files whose labels are ignored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsi_lpd.errors import LabelError
from wsi_lpd.images.files import IMAGE_SUFFIXES, common_side, image_size
from wsi_lpd.labels.csv_files import read_unlabelled_csv
from wsi_lpd.labels.table import LabelTable, PatchSource, join
from wsi_lpd.stores.patches import PatchStore
from wsi_lpd.stores.sizes import METADATA


def read_unlabelled(paths: Sequence[Path]) -> LabelTable:
    """Reads patches into one table without classes; duplicates are dropped.

    Args:
        paths: Stores, CSV files over stores or images, folders of stores, and folders of images.

    Raises:
        LabelError: If there are no patches, or their mpp or size differ.
        StoreError: If a store cannot be read.
    """
    if not paths:
        raise LabelError("no patches were given; pass patch stores, a patches.csv or a folder of images")
    tables = [table for path in paths for table in _read_source(path)]
    seen: set[PatchSource] = set()
    for i, table in enumerate(tables):
        places = [PatchSource(source.path.resolve(), source.index) for source in table.sources]
        tables[i] = table.subset([k for k, place in enumerate(places) if place not in seen])
        seen.update(places)
    filled = [table for table in tables if len(table)]
    if not filled:
        raise LabelError(f"{', '.join(map(str, paths))}: no patches found; expected at least one")
    return join(filled, names=[str(table.sources[0].path) for table in filled])


def _read_source(path: Path) -> list[LabelTable]:
    if (path / METADATA).is_file():
        return [_of_store(path)]
    if path.is_dir():
        stores = sorted(found.parent for found in path.glob(f"*/{METADATA}") if found.parent.suffix != ".partial")
        if stores:
            return [_of_store(store) for store in stores]
        return [_of_images(path)]
    if path.is_file():
        return [read_unlabelled_csv(path)]
    raise LabelError(f"{path}: no such store, file or folder")


def _of_store(path: Path) -> LabelTable:
    store = PatchStore.open(path)
    sources = tuple(PatchSource(path, i) for i in range(len(store)))
    return _table(sources, [store.meta.slide.name] * len(store), store.meta.mpp, store.meta.patch_px)


def _of_images(folder: Path) -> LabelTable:
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    if not images:
        raise LabelError(f"{folder}: has no patches; expected patch stores (<slide>.zarr) or images")
    side = common_side([image_size(image) for image in images], str(folder))
    return _table(tuple(map(PatchSource, images)), [image.stem for image in images], None, side)


def _table(sources: tuple[PatchSource, ...], groups: Sequence[str], mpp: float | None, patch_px: int) -> LabelTable:
    return LabelTable((), np.zeros((len(sources), 0), np.int8), sources, tuple(groups), mpp, patch_px)
