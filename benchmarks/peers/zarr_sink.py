"""Writes patches to a sharded zarr array, a shard at a time, as every loop of the comparison does.

Needs only NumPy and zarr, so that it runs in the peers' environments too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

SHARD_PATCHES = 256


class ZarrSink:
    """Patches (S, S, 3) uint8 with zstd level 1, a chunk each, `SHARD_PATCHES` of them in a file."""

    def __init__(self, path: str | Path, n_patches: int, patch_px: int) -> None:
        """`n_patches` is an upper bound."""
        self._array: Any = zarr.create_array(
            str(path),
            shape=(max(n_patches, 1), patch_px, patch_px, 3),
            chunks=(1, patch_px, patch_px, 3),
            shards=(SHARD_PATCHES, patch_px, patch_px, 3),
            dtype=np.uint8,
            compressors=ZstdCodec(level=1),
            overwrite=True,
        )
        self._buffer = np.empty((SHARD_PATCHES, patch_px, patch_px, 3), np.uint8)
        self._waiting = 0
        self.count = 0

    def add(self, patch: Any) -> None:
        """Adds one patch."""
        self._buffer[self._waiting] = patch
        self._waiting += 1
        if self._waiting == len(self._buffer):
            self.flush()

    def flush(self) -> None:
        """Writes what is waiting."""
        if self._waiting:
            self._array[self.count : self.count + self._waiting] = self._buffer[: self._waiting]
        self.count += self._waiting
        self._waiting = 0
