"""Zarr groups and arrays of items (patches, masks, feature maps): the one module that opens them.

Items lie along the first axis. What is written here is zarr v3 with many items in a shard; what is read may be any
array that zarr reads: version 2 or 3, any codec, chunks or shards, in a folder, a zip file, or at a URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import FsspecStore, LocalStore, ZipStore

from wsi_lpd.errors import StoreError, one_line
from wsi_lpd.stores.pipeline import PIPELINE, ForeignFolderError, GuardedStore
from wsi_lpd.stores.sizes import METADATA, ZSTD_LEVEL
from wsi_lpd.types import AnyArray, Int64Array

_URL: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")

_BROKEN = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, NotImplementedError)
"""What zarr, its codecs and its stores raise on what they cannot read."""


def location_of(path: Path | str) -> str:
    """The place of a store as text; a URL that went through `Path` gets its second slash back."""
    text = str(path)
    return _URL.sub(r"\1://", text) if _URL.match(text) and not Path(text).exists() else text


def is_url(path: Path | str) -> bool:
    """Whether a store lies at a URL."""
    return "://" in location_of(path)


def is_group(path: Path) -> bool:
    """Whether there is something that may be a zarr group: a folder with its metadata, a zip file, a URL."""
    return is_url(path) or path.suffix == ".zip" or any((path / name).is_file() for name in (METADATA, ".zgroup"))


class Group:
    """A zarr group that is open for reading."""

    def __init__(self, path: Path | str) -> None:
        """Opens it.

        Raises:
            StoreError: If there is none.
        """
        self.location = location_of(path)
        try:
            with zarr.config.set({"codec_pipeline.path": PIPELINE}):
                self._group = zarr.open_group(_store(self.location), mode="r")
            self.attributes: dict[str, Any] = dict(self._group.attrs)
        except FileNotFoundError as err:
            raise StoreError(f"{self.location}: there is no zarr group") from err
        except ImportError as err:
            raise StoreError(f"{self.location}: needs a library ({err}); pip install 'wsi-lpd[remote]'") from err
        except _BROKEN as err:
            raise StoreError(f"{self.location}: cannot be opened as a zarr group ({one_line(err)})") from err

    def items(self, name: str) -> Items:
        """An array of the group.

        Raises:
            StoreError: If it has none of that name.
        """
        try:
            with zarr.config.set({"codec_pipeline.path": PIPELINE}):
                found = self._group[name]
        except _BROKEN as err:
            raise StoreError(f"{self.location}: its array `{name}` cannot be opened ({one_line(err)})") from err
        if not isinstance(found, zarr.Array):
            raise StoreError(f"{self.location}: `{name}` is a group, expected an array")
        return Items(found, f"{self.location}/{name}")


class Items:
    """An array whose first axis counts items."""

    def __init__(self, array: zarr.Array[Any], location: str) -> None:
        self._array = array
        self.location = location

    def __len__(self) -> int:
        return int(self._array.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """All of it."""
        return tuple(self._array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return np.dtype(self._array.dtype)

    @property
    def per_shard(self) -> int:
        """Items in what is written, or fetched, at once."""
        return int((self._array.shards or self._array.chunks)[0])

    def read_all(self) -> AnyArray:
        """The whole array; for small ones.

        Raises:
            StoreError: If it is damaged.
        """
        try:
            if not is_url(self.location) and self._array.nchunks_initialized < self._array.nchunks:
                raise FileNotFoundError("a chunk is missing")  # zarr would give zeros
            return np.asarray(self._array[...])
        except _BROKEN as err:
            raise StoreError(f"{self.location}: cannot be read ({one_line(err)})") from err

    def read(self, indices: Sequence[int] | Int64Array) -> AnyArray:
        """Items in the order asked for, (n, ...).

        Raises:
            StoreError: If an index is outside, or what holds it is missing or damaged.
        """
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise StoreError(
                f"{self.location}: items {wanted.min()} to {wanted.max()} were asked for, it holds 0 to {len(self) - 1}"
            )
        out = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        per_chunk = int(self._array.chunks[0])
        cells = wanted // (per_chunk if per_chunk > 1 else self.per_shard)
        for cell in np.unique(cells):
            places = np.flatnonzero(cells == cell)
            try:
                out[places] = self._read_cell(wanted[places], per_chunk)
            except _BROKEN as err:
                shard = self.shard_key(int(wanted[places[0]]) // self.per_shard)
                raise StoreError(f"{self.location}/{shard}: damaged or missing ({one_line(err)})") from err
        return out

    def shard_key(self, shard: int) -> str:
        """Name of the file of a shard within the array."""
        cell = (shard, *[0] * (self._array.ndim - 1))
        return str(self._array.metadata.encode_chunk_key(cell))

    def _read_cell(self, rows: Int64Array, per_chunk: int) -> AnyArray:
        """Items of one shard, or of one chunk of several items, in one request to zarr."""
        if per_chunk > 1:  # all of a chunk is decoded for any item of it
            first = int(rows.min())
            return np.asarray(self._array[first : int(rows.max()) + 1])[rows - first]
        if len(rows) == 1:
            return np.asarray(self._array[int(rows[0]) : int(rows[0]) + 1])
        distinct, back = np.unique(rows, return_inverse=True)
        return np.asarray(self._array.oindex[distinct])[back]


def create_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Writes the metadata of a group; a folder with them is one that can be resumed."""
    zarr.create_group(LocalStore(folder), attributes=dict(attributes), zarr_format=3)


def create_items(
    folder: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    *,
    per_shard: int,
    fill_value: float,
    dimension_names: tuple[str, ...],
    compress: bool = True,
) -> None:
    """Writes the metadata of an array of items, one chunk each with a checksum, many in a shard."""
    zarr.create_array(
        LocalStore(folder / name),
        shape=shape,
        dtype=dtype,
        chunks=(1, *shape[1:]),
        shards=(per_shard, *shape[1:]),
        compressors=[*([ZstdCodec(level=ZSTD_LEVEL)] if compress else []), Crc32cCodec()],
        fill_value=fill_value,
        dimension_names=dimension_names,
    )


def write_array(folder: Path, name: str, values: AnyArray, *, dimension_names: tuple[str, ...]) -> None:
    """Writes a small array, in one chunk with a checksum."""
    array = zarr.create_array(
        LocalStore(folder / name),
        shape=values.shape,
        dtype=values.dtype,
        chunks=(max(len(values), 1), *values.shape[1:]),
        compressors=[ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()],
        fill_value=0,
        dimension_names=dimension_names,
        config={"write_empty_chunks": True},
    )
    if len(values):
        array[...] = values


class ShardWriter:
    """Writes whole shards of an array of items, each a file that is there whole or not at all."""

    def __init__(self, folder: Path, name: str, *, is_ours: Callable[[], bool] = lambda: True) -> None:
        """`is_ours` is asked before each shard comes into the folder."""
        with zarr.config.set({"codec_pipeline.path": PIPELINE}):
            self._array = zarr.open_array(GuardedStore(folder, is_ours), path=name, mode="r+")
        self._folder = folder / name
        self._items = Items(self._array, str(self._folder))

    def write(self, shard: int, items: AnyArray) -> None:
        """Writes all items of a shard.

        Raises:
            StoreError: If the folder is no longer ours.
        """
        first = shard * self._items.per_shard
        (self._folder / self._items.shard_key(shard)).unlink(missing_ok=True)  # a damaged one is not built upon
        try:
            self._array[first : first + len(items)] = items
        except ForeignFolderError as err:
            raise StoreError(str(err)) from err

    def is_there(self, shard: int) -> bool:
        """Whether a shard is there and whole."""
        last = min((shard + 1) * self._items.per_shard, len(self._items)) - 1
        try:
            self._items.read([last])
        except StoreError:
            return False
        return True

    def keep_only(self, shards: Sequence[int]) -> None:
        """Removes the files of all other shards."""
        kept = {self._items.shard_key(i) for i in shards}
        chunks = self._folder / "c"
        for file in chunks.rglob("*") if chunks.is_dir() else ():
            if file.is_file() and file.relative_to(self._folder).as_posix() not in kept:
                file.unlink()


def _store(location: str) -> Any:
    if "://" in location:
        return FsspecStore.from_url(location, read_only=True)
    if location.endswith(".zip"):
        return ZipStore(location, mode="r", read_only=True)
    return LocalStore(location, read_only=True)
