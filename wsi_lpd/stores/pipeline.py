"""How zarr reads and writes our shards: a codec pipeline and a store, both behind zarr's own interface.

zarr decodes a shard chunk by chunk through coroutines, which takes several times as long as the decoding itself. The
pipeline here does the same in one go where an array is laid out as ours are: one chunk per item along the first axis,
many of them in a shard, compressed by zstd or not at all, with or without a CRC-32C each. Every other array, and every
other store than a local folder, goes zarr's own way.

Source: zarr v3 specification, sharding codec (index of little-endian offset and length at the end, then its CRC-32C).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import google_crc32c
import imagecodecs
import numpy as np
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline
from zarr.storage import LocalStore, StorePath

from wsi_lpd.files import add_file
from wsi_lpd.threads import n_threads
from wsi_lpd.types import AnyArray, Int64Array

_EMPTY: Final = 2**64 - 1
_CRC_BYTES: Final = 4
_NATIVE: Final = "little"


class ForeignFolderError(OSError):
    """The folder that was to be written into is no longer what it was."""


class GuardedStore(LocalStore):
    """A local folder into which files come whole or not at all, and only while it is what its writer takes it for."""

    def __init__(self, root: Path, is_ours: Callable[[], bool]) -> None:
        super().__init__(root)
        self._is_ours = is_ours

    async def set(self, key: str, value: Any) -> None:
        """See `zarr.abc.store.Store`; the file is on the disk when it returns."""
        if not add_file(Path(self.root), key, [value.as_buffer_like()], is_ours=self._is_ours):
            raise ForeignFolderError(f"{self.root}: another run has started it over")


@dataclass(frozen=True)
class _Layout:
    """Of a shard that is read and written in one go."""

    n_items: int
    item_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_compressed: bool
    zstd_level: int
    has_checksums: bool

    @property
    def index_bytes(self) -> int:
        return 16 * self.n_items

    def encoded(self, item: AnyArray) -> bytes:
        data = np.ascontiguousarray(item, self.dtype).tobytes()
        if self.is_compressed:
            data = bytes(imagecodecs.zstd_encode(data, level=self.zstd_level))
        return data + _checksum(data) if self.has_checksums else data

    def decoded(self, data: bytes) -> AnyArray:
        """An item; ValueError if it is damaged."""
        if self.has_checksums:
            data, checksum = data[:-_CRC_BYTES], data[-_CRC_BYTES:]
            if checksum != _checksum(data):
                raise ValueError("its checksum is wrong")
        raw = bytes(imagecodecs.zstd_decode(data)) if self.is_compressed else data
        return np.frombuffer(raw, self.dtype).reshape(self.item_shape)


class ItemPipeline(BatchedCodecPipeline):
    """See the module."""

    async def read(self, batch_info: Iterable[Any], out: Any, drop_axes: tuple[int, ...] = ()) -> None:
        """See `zarr.abc.codec.CodecPipeline`."""
        batch = list(batch_info)
        plans = [self._plan(*entry[:3]) for entry in batch]
        if drop_axes or any(plan is None for plan in plans):
            await super().read(batch, out, drop_axes)
            return
        target = out.as_numpy_array()
        for (_, spec, _, out_selection, *_), plan in zip(batch, plans, strict=True):
            path, layout, rows = plan  # type: ignore[misc]
            part = target[out_selection].reshape(len(rows), *layout.item_shape)
            filled = np.empty_like(part)
            _read_items(path, layout, rows, filled, fill_value=spec.fill_value)
            target[out_selection] = filled.reshape(target[out_selection].shape)

    async def write(self, batch_info: Iterable[Any], value: Any, drop_axes: tuple[int, ...] = ()) -> None:
        """See `zarr.abc.codec.CodecPipeline`; whole shards that are not there yet are written in one go."""
        batch = list(batch_info)
        plans = [self._plan(*entry[:3]) for entry in batch]
        fresh = [
            plan is not None and plan[2][0] == 0 and np.all(np.diff(plan[2]) == 1) and not plan[0].exists()
            for plan in plans
        ]
        if drop_axes or not all(fresh):
            await super().write(batch, value, drop_axes)
            return
        for (setter, _, _, out_selection, *_), plan in zip(batch, plans, strict=True):
            _, layout, rows = plan  # type: ignore[misc]
            items = value[out_selection].as_numpy_array().reshape(len(rows), *layout.item_shape)
            buffer = default_buffer_prototype().buffer.from_bytes(_shard(items, layout))
            await setter.set(buffer)

    def _plan(self, place: Any, spec: Any, selection: Any) -> tuple[Path, _Layout, Int64Array] | None:
        """File, layout and wanted items, where all of that is simple."""
        layout = self._layout(spec)
        if layout is None or not isinstance(place, StorePath) or not isinstance(place.store, LocalStore):
            return None
        rows = _whole_items(selection, spec.shape)
        return None if rows is None or len(rows) == 0 else (Path(place.store.root) / place.path, layout, rows)

    def _layout(self, spec: Any) -> _Layout | None:
        sharding = self.array_bytes_codec
        if self.array_array_codecs or self.bytes_bytes_codecs or not isinstance(sharding, ShardingCodec):
            return None
        if tuple(sharding.chunk_shape) != (1, *spec.shape[1:]) or str(sharding.index_location.value) != "end":
            return None
        if [type(codec) for codec in sharding.index_codecs] != [BytesCodec, Crc32cCodec]:
            return None
        kinds = [type(codec) for codec in sharding.codecs]
        if kinds not in ([BytesCodec], [BytesCodec, Crc32cCodec], [BytesCodec, ZstdCodec],
                         [BytesCodec, ZstdCodec, Crc32cCodec]):  # fmt: skip
            return None
        dtype = spec.dtype.to_native_dtype()
        endian = getattr(sharding.codecs[0], "endian", None)
        if dtype.itemsize > 1 and (endian is None or endian.value != _NATIVE):
            return None
        level = next((codec.level for codec in sharding.codecs if isinstance(codec, ZstdCodec)), 0)
        return _Layout(
            n_items=spec.shape[0],
            item_shape=tuple(spec.shape[1:]),
            dtype=dtype.newbyteorder("<"),
            is_compressed=ZstdCodec in kinds,
            zstd_level=level,
            has_checksums=Crc32cCodec in kinds,
        )


register_pipeline(ItemPipeline)
PIPELINE: Final = f"{ItemPipeline.__module__}.{ItemPipeline.__qualname__}"


def _whole_items(selection: Any, shape: Sequence[int]) -> Int64Array | None:
    """The items that a selection of a shard asks for; None where it asks for parts of items."""
    if not isinstance(selection, tuple) or len(selection) != len(shape):
        return None
    lines = [_line(part, length) for part, length in zip(selection, shape, strict=True)]
    if any(line is None for line in lines):
        return None
    whole = all(
        line is not None and len(line) == length and line[0] == 0 and line[-1] == length - 1
        for line, length in zip(lines[1:], shape[1:], strict=True)
    )
    return lines[0] if whole else None


def _line(part: Any, length: int) -> Int64Array | None:
    if isinstance(part, slice):
        return np.arange(*part.indices(length))
    if isinstance(part, int | np.integer):
        return np.array([part], np.int64)
    array = np.asarray(part)
    return array.reshape(-1).astype(np.int64) if array.dtype.kind in "iu" else None


def _shard(items: AnyArray, layout: _Layout) -> bytes:
    with ThreadPoolExecutor(n_threads(), thread_name_prefix="pack") as pool:
        encoded = list(pool.map(layout.encoded, items))
    lengths = np.array([len(item) for item in encoded], "<u8")
    index = np.full((layout.n_items, 2), _EMPTY, "<u8")
    index[: len(encoded), 0] = np.cumsum(lengths) - lengths
    index[: len(encoded), 1] = lengths
    return b"".join([*encoded, index.tobytes(), _checksum(index.tobytes())])


def _read_items(path: Path, layout: _Layout, rows: Int64Array, into: AnyArray, *, fill_value: Any) -> None:
    """Raises FileNotFoundError where there is no shard: nothing of ours leaves one out."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        index = _index(file, layout)
        for place, row in enumerate(rows.tolist()):
            offset, length = int(index[row, 0]), int(index[row, 1])
            if offset == _EMPTY:
                into[place] = fill_value
                continue
            file.seek(offset)
            data = file.read(length)
            if len(data) != length:
                raise ValueError(f"{path}: is cut off")
            into[place] = layout.decoded(data)


def _index(file: Any, layout: _Layout) -> AnyArray:
    end = file.seek(0, os.SEEK_END)
    start = end - layout.index_bytes - _CRC_BYTES
    if start < 0:
        raise ValueError(f"{end} bytes are too few for a shard")
    file.seek(start)
    data = file.read(layout.index_bytes + _CRC_BYTES)
    if data[layout.index_bytes :] != _checksum(data[: layout.index_bytes]):
        raise ValueError("the checksum of its index is wrong")
    return np.frombuffer(data[: layout.index_bytes], "<u8").reshape(layout.n_items, 2)


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CRC_BYTES, "little")
