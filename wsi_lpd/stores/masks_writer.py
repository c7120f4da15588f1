"""Writing pseudo masks: in a `.partial` folder beside their place, shard after shard, renamed when complete."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from wsi_lpd.errors import StoreError
from wsi_lpd.files import remove, replacing
from wsi_lpd.labels.table import PatchSource
from wsi_lpd.stores.arrays import ShardWriter, create_group, create_items
from wsi_lpd.stores.masks import ARRAY, SHARD_PATCHES, TABLE, MaskRow, all_masks, open_masks
from wsi_lpd.stores.masks_meta import MasksMeta, read_masks_meta
from wsi_lpd.stores.patches import partial_path
from wsi_lpd.stores.patches_writer import put_in_place
from wsi_lpd.types import IGNORE, UInt8Array


class MaskWriter:
    """Builds masks in a `.partial` folder, and puts them in place when complete. The caller holds the lock.

    Shards that an interrupted run of the same masks has left are kept.

    Attributes:
        missing: Shards that are not there yet, ascending.
        resumed: Whether some were there already.
    """

    def __init__(self, path: Path, meta: MasksMeta, sources: Sequence[PatchSource]) -> None:
        self.path = path
        self.partial = partial_path(path)
        self._meta = meta
        self._sources = sources
        n_shards = -(-len(sources) // SHARD_PATCHES)
        if not self._is_begun():
            remove(self.partial)
            create_items(
                self.partial,
                ARRAY,
                (len(sources), len(meta.layers), meta.patch_px, meta.patch_px),
                "uint8",
                per_shard=SHARD_PATCHES,
                fill_value=IGNORE,
                dimension_names=("patch", "layer", "y", "x"),
            )
            # The group comes last: a folder with its attributes is one that can be resumed.
            create_group(self.partial, meta.model_dump(mode="json"))
        self._shards = ShardWriter(self.partial, ARRAY)
        self.missing = [i for i in range(n_shards) if not self._shards.is_there(i)]
        self.resumed = len(self.missing) < n_shards

    def patches_of(self, shard: int) -> range:
        """Rows of one shard."""
        return range(shard * SHARD_PATCHES, min((shard + 1) * SHARD_PATCHES, len(self._sources)))

    def write(self, shard: int, masks: UInt8Array) -> None:
        """Writes a whole shard of masks and confidence, (n, M + 1, S, S)."""
        self._shards.write(shard, masks)
        self.missing.remove(shard)

    def write_table(self) -> list[MaskRow]:
        """Writes `masks.csv` from the complete shards, and returns its rows."""
        n_values = len(self._meta.classes) + 1
        rows = []
        for source, layers in zip(self._sources, all_masks(open_masks(self.partial, self._meta)), strict=True):
            shares = np.bincount(layers[0].reshape(-1), minlength=256)[:n_values] / layers[0].size
            rows.append(MaskRow(source, float(shares.sum()), tuple(shares.tolist())))
        _write_rows(self.partial / TABLE, rows, self._meta.classes, beside=self.path)
        return rows

    def finish(self) -> None:
        """Puts the complete masks in place; old ones there stay until this moment."""
        put_in_place(self.partial, self.path)

    def _is_begun(self) -> bool:
        with suppress(StoreError):
            return read_masks_meta(self.partial) == self._meta
        return False


def _write_rows(path: Path, rows: Sequence[MaskRow], classes: Sequence[str], *, beside: Path) -> None:
    """Places are relative to the finished folder, so that it can be moved together with the patches."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["patch", "index", "judged", "background", *classes])
        for row in rows:
            place = Path(os.path.relpath(row.source.path.absolute(), beside.absolute())).as_posix()
            index = "" if row.source.index is None else row.source.index
            writer.writerow([place, index, *(f"{share:.4f}" for share in (row.judged, *row.shares))])
