"""The patch store: patches of one slide, with where they lie and how much tissue they hold.

A store is a zarr group (written as v3) that opens with plain `zarr.open`:

    patches  uint8 (N, S, S, 3)   RGB; written as one chunk per patch, zstd and CRC-32C, many in a shard
    coords   int64 (N, 2)         level-0 x, y of each patch's upper left corner
    tissue   float32 (N,)         tissue fraction of each patch
    attributes                    `patches_meta.StoreMeta`

It is written in a `.partial` folder beside its place and renamed when complete (`patches_writer.py`). A store that zarr
has rewritten (other codecs, chunks or shards, version 2, in a zip file, at a URL) is read alike.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from wsi_lpd.errors import StoreError
from wsi_lpd.process_local import PerProcess
from wsi_lpd.stores.patches_meta import FORMAT_VERSION, StoreMeta
from wsi_lpd.types import AnyArray, Float32Array, Int64Array, UInt8Array

if TYPE_CHECKING:
    from wsi_lpd.stores.arrays import Group, Items

_AGAIN = "run tile again with --overwrite"


def partial_path(path: Path) -> Path:
    """Where the store at `path` is built."""
    return path.with_name(path.name + ".partial")


class PatchStore:
    """A finished store, open for reading; it may be pickled, and used after a fork.

    Args:
        path: A folder, a zip file, or a URL (`https://`, `s3://`).

    Raises:
        StoreError: When opened, if there is no store at `path`, or one that this version cannot read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path = Path(path)
        self._groups = PerProcess(functools.partial(_open, path))
        self.meta = _meta_of(self._groups.get().attributes, path)
        self._items = PerProcess(self._patches)
        shape, side = self._items.get().shape, self.meta.patch_px
        if self._items.get().dtype != np.uint8 or shape[1:] != (side, side, 3):
            raise StoreError(
                f"{path}: its `patches` are {self._items.get().dtype} {shape}, expected uint8 (N, {side}, {side}, 3); "
                f"{_AGAIN}"
            )
        self._n_patches = shape[0]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> PatchStore:
        """Opens the finished store at `path`."""
        return cls(path)

    def __len__(self) -> int:
        return self._n_patches

    @cached_property
    def coords(self) -> Int64Array:
        """Upper left corners in level-0 px, (N, 2) as x, y."""
        return self._small("coords", (self._n_patches, 2)).astype(np.int64, copy=False)

    @cached_property
    def tissue(self) -> Float32Array:
        """Tissue fraction of each patch, (N,)."""
        return self._small("tissue", (self._n_patches,)).astype(np.float32, copy=False)

    def read(self, indices: Sequence[int] | Int64Array) -> UInt8Array:
        """Reads patches in the order asked for; (n, S, S, 3) RGB.

        Raises:
            StoreError: If an index is outside the store, or a shard is missing or damaged.
        """
        try:
            return self._items.get().read(indices)
        except StoreError as err:
            raise StoreError(f"{err}; {_AGAIN}") from err

    def _patches(self) -> Items:
        return self._groups.get().items("patches")

    def _small(self, name: str, shape: tuple[int, ...]) -> AnyArray:
        values = self._groups.get().items(name).read_all()
        if values.shape != shape or values.dtype.kind not in "iuf":
            raise StoreError(f"{self.path}: its `{name}` are {values.dtype} {values.shape}, expected {shape}; {_AGAIN}")
        return values


def _open(path: Path) -> Group:
    from wsi_lpd.stores.arrays import Group

    try:
        return Group(path)
    except StoreError as err:
        raise StoreError(f"{path}: is not a patch store ({str(err).partition(': ')[2]})") from err


def read_meta(path: Path) -> StoreMeta:
    """The attributes of the store at `path`, finished or not.

    Raises:
        StoreError: If it is none, or one that this version cannot read.
    """
    return _meta_of(_open(path).attributes, path)


def _meta_of(attributes: dict[str, Any], path: Path) -> StoreMeta:
    if attributes.get("format") != "wsi-lpd patches":
        raise StoreError(f"{path}: is not a patch store of wsi-lpd")
    if attributes.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"{path}: has format version {attributes.get('format_version')}, this program reads {FORMAT_VERSION}; "
            "use the version of wsi-lpd that wrote it, or tile the slide again"
        )
    try:
        return StoreMeta.model_validate(attributes)
    except ValidationError as err:
        keys = ", ".join(".".join(map(str, problem["loc"])) for problem in err.errors())
        raise StoreError(f"{path}: its attributes are damaged ({keys}); tile the slide again with --overwrite") from err
