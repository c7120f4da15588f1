"""The bytes of a shard of patches: packing them, laying them out as the zarr v3 sharding codec does, finding them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c
import imagecodecs
import numpy as np

from wsi_lpd.types import AnyArray, UInt8Array

SHARD_BYTES = 48 * 2**20
"""Aimed size of the pixels of one shard: the most that is done again after a kill, and what the writer holds."""

MAX_SHARD_PATCHES = 1024
"""Most patches in a shard: its index, 16 bytes each, is read with every random read."""

ZSTD_LEVEL = 1
"""On patches of H&E, levels 0 (= 3) and 3 were slower by half and not smaller."""

EMPTY: Final = 2**64 - 1
"""Offset and length of a chunk that a shard does not hold (zarr v3 sharding codec)."""

_INDEX_CRC_BYTES = 4


def patches_per_shard(patch_px: int) -> int:
    """Number of patches in one shard."""
    return max(1, min(SHARD_BYTES // (3 * patch_px**2), MAX_SHARD_PATCHES))


def shard_index_bytes(n_patches: int, patch_px: int) -> int:
    """Bytes that the indices of all shards take."""
    per_shard = patches_per_shard(patch_px)
    return -(-n_patches // per_shard) * (16 * per_shard + _INDEX_CRC_BYTES)


def pack(patches: UInt8Array) -> list[bytes]:
    """Compresses patches (n, S, S, 3) for `StoreWriter.append`; many threads may do so at once.

    Zarr itself packs and writes a shard in four times the processor time (1.5 ms more per patch of 224 px), and in
    the thread that waits for it.
    """
    return [bytes(imagecodecs.zstd_encode(patch, level=ZSTD_LEVEL)) for patch in patches]


def shard_parts(packed: Sequence[bytes], shard_patches: int) -> list[bytes]:
    """A shard as the zarr v3 sharding codec lays it out, in pieces: chunks, their index, its CRC-32C."""
    lengths = np.array([len(patch) for patch in packed], dtype="<u8")
    index = np.full((shard_patches, 2), EMPTY, dtype="<u8")
    index[: len(packed), 0] = np.cumsum(lengths) - lengths
    index[: len(packed), 1] = lengths
    checksum = google_crc32c.value(index.tobytes()).to_bytes(_INDEX_CRC_BYTES, "little")
    return [*packed, index.tobytes(), checksum]


def is_whole(path: Path, shard_patches: int) -> bool:
    """Whether the shard's index, which stands at its end, is there and points at exactly what lies before it."""
    try:
        with path.open("rb") as stream:
            index = shard_index(stream, shard_patches)
    except (OSError, ValueError):
        return False
    held = index[index[:, 0] != EMPTY]
    end = int(held.sum(axis=1).max()) if len(held) else 0
    return end == path.stat().st_size - index.nbytes - _INDEX_CRC_BYTES


def shard_index(stream: BinaryIO, shard_patches: int) -> AnyArray:
    """Offset and length of every chunk of an open shard file, (n, 2) uint64."""
    n_bytes = 16 * shard_patches
    start = stream.seek(0, os.SEEK_END) - n_bytes - _INDEX_CRC_BYTES
    if start < 0:
        raise ValueError(f"{start + n_bytes + _INDEX_CRC_BYTES} bytes are too few for a shard")
    stream.seek(start)
    return np.frombuffer(stream.read(n_bytes), dtype="<u8").reshape(shard_patches, 2)


def shard_chunks(path: Path, within: Iterable[int], shard_patches: int) -> Iterator[bytes | None]:
    """Unpacks chunks `within` of a shard file, in that order; None for one that it does not hold.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no shard.
        imagecodecs.ZstdError: If a chunk is damaged.
    """
    with path.open("rb") as stream:
        index = shard_index(stream, shard_patches)
        for k in within:
            offset, n_bytes = int(index[k, 0]), int(index[k, 1])
            if offset == EMPTY:
                yield None
                continue
            stream.seek(offset)
            yield bytes(imagecodecs.zstd_decode(stream.read(n_bytes)))


def shard_path(path: Path, shard: int, *, array: str = "patches") -> Path:
    """File of one shard of an array (N, y, x, rgb), or of another of four dimensions, of the store at `path`."""
    return path / array / "c" / str(shard) / "0" / "0" / "0"
