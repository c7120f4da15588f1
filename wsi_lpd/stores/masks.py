"""Pseudo masks on disk: one folder that opens with plain `zarr.open`, and a table that says which patch is which.

    masks        uint8 (N, M + 1, S, S)   M masks per patch, then how sure they are; chunk = one patch, zstd
    masks.csv    one line per patch: where it is, what share of it the mask judges, and the share of every class
    masks.png    some patches with their masks, to look at
    attributes   `MasksMeta`

Values of a mask: 0 background, i for the class i of the attributes (counted from 1), 255 ignored. The last layer is the
lead of the winner over the runner-up in probability, times 255. Written by `masks_writer.py`.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from wsi_lpd.errors import StoreError
from wsi_lpd.labels.table import LabelTable, PatchSource
from wsi_lpd.process_local import PerProcess
from wsi_lpd.stores.arrays import Group, Items
from wsi_lpd.stores.masks_meta import ANEW, MasksMeta, read_masks_meta
from wsi_lpd.stores.sizes import METADATA
from wsi_lpd.types import UInt8Array

ARRAY: Final = "masks"
TABLE: Final = "masks.csv"
PICTURE: Final = "masks.png"
SHARD_PATCHES: Final = 256
"""What is made again after a kill at most, and what the writer holds."""


@dataclass(frozen=True)
class MaskRow:
    """A line of `masks.csv`.

    Attributes:
        source: Which patch.
        judged: Share of its pixels that are not ignored.
        shares: Share of background and of every class among all its pixels, C + 1 numbers.
    """

    source: PatchSource
    judged: float
    shares: tuple[float, ...]


class MaskStore:
    """Finished masks, open for reading. It holds no open file, so it can be pickled and sent to a worker.

    Raises:
        StoreError: When opened, if there are none at `path`, or they are damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.meta = read_masks_meta(path)
        self._items = PerProcess(functools.partial(open_masks, path, self.meta))
        self.rows = read_mask_rows(path, n_classes=len(self.meta.classes))

    @classmethod
    def open(cls, path: Path) -> MaskStore:
        """Opens the finished masks at `path`."""
        return cls(path)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what they say of themselves: model, settings, patches, and the shares of every patch."""
        content = (self.path / METADATA).read_bytes() + (self.path / TABLE).read_bytes()
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    @cached_property
    def _places(self) -> dict[tuple[str, int | None], int]:
        return {_key(row.source): i for i, row in enumerate(self.rows)}

    def check_fits(self, table: LabelTable) -> None:
        """Checks that every patch of a table has a mask of the same classes.

        Raises:
            StoreError: If not.
        """
        if self.meta.classes != table.classes:
            raise StoreError(
                f"{self.path}: its masks are of the classes {', '.join(self.meta.classes)}, the labels of "
                f"{', '.join(table.classes)}; make them from the same label files"
            )
        if self.meta.patch_px != table.patch_px:
            raise StoreError(
                f"{self.path}: its masks are {self.meta.patch_px} px wide, the patches {table.patch_px}; {ANEW}"
            )
        missing = [source for source in table.sources if _key(source) not in self._places]
        if missing:
            raise StoreError(
                f"{self.path}: {len(missing)} of {len(table)} patches have no mask, such as {_told(missing[0])}; make "
                "masks with the same --labels"
            )

    def read(self, sources: Sequence[PatchSource]) -> UInt8Array:
        """Masks and confidence of patches, in that order, (n, M + 1, S, S).

        Raises:
            StoreError: If a patch has none, or a shard is missing or damaged.
        """
        try:
            wanted = np.array([self._places[_key(source)] for source in sources], np.int64)
        except KeyError as err:
            raise StoreError(f"{self.path}: has no mask of {err.args[0][0]} patch {err.args[0][1]}") from err
        return self._items.get().read(wanted)

    def __iter__(self) -> Iterator[UInt8Array]:
        """Masks and confidence of every patch in the order of the rows, (M + 1, S, S) each."""
        yield from all_masks(self._items.get())


def read_mask_rows(path: Path, *, n_classes: int) -> list[MaskRow]:
    """The lines of `masks.csv`.

    Raises:
        StoreError: If it is missing or damaged.
    """
    table = path / TABLE
    rows = []
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            for place, index, judged, *shares in list(csv.reader(stream))[1:]:
                if len(shares) != n_classes + 1:
                    raise ValueError(f"{len(shares)} shares in a line, expected {n_classes + 1}")
                source = PatchSource(Path(os.path.normpath(path / place)), int(index) if index else None)
                rows.append(MaskRow(source, float(judged), tuple(map(float, shares))))
    except (OSError, ValueError) as err:
        raise StoreError(f"{table}: cannot be read ({err}); {ANEW}") from err
    return rows


def all_masks(items: Items) -> Iterator[UInt8Array]:
    """Masks and confidence of every patch of an array of masks, (M + 1, S, S) each."""
    for first in range(0, len(items), items.per_shard):
        yield from items.read(range(first, min(first + items.per_shard, len(items))))


def open_masks(path: Path, meta: MasksMeta) -> Items:
    """The array of masks at `path`, finished or not.

    Raises:
        StoreError: If there is none, or of another shape than `meta` says.
    """
    items = Group(path).items(ARRAY)
    shape = (len(meta.layers), meta.patch_px, meta.patch_px)
    if items.dtype != np.uint8 or items.shape[1:] != shape:
        raise StoreError(f"{path}: its masks are {items.dtype} {items.shape}, expected uint8 (N, {shape}); {ANEW}")
    return items


def _key(source: PatchSource) -> tuple[str, int | None]:
    return os.path.normpath(source.path.absolute()), source.index


def _told(source: PatchSource) -> str:
    return str(source.path) if source.index is None else f"{source.path} patch {source.index}"
