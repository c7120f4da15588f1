"""Names and sizes that stores have in common; nothing here needs zarr."""

from __future__ import annotations

from typing import Final

METADATA: Final = "zarr.json"
"""File that a group of ours has; the last to be written when one is begun."""

SHARD_BYTES: Final = 48 * 2**20
"""Aimed size of the pixels of one shard: the most that is done again after a kill, and what the writer holds."""

MAX_SHARD_PATCHES: Final = 1024
"""Most patches in a shard: its index, 16 bytes each, is read with every random read."""

ZSTD_LEVEL: Final = 1
"""On patches of H&E, levels 0 (= 3) and 3 were slower by half and not smaller."""


def patches_per_shard(patch_px: int) -> int:
    """Number of patches in one shard."""
    return max(1, min(SHARD_BYTES // (3 * patch_px**2), MAX_SHARD_PATCHES))


def shard_index_bytes(n_patches: int, patch_px: int) -> int:
    """Bytes that the indices of all shards take."""
    per_shard = patches_per_shard(patch_px)
    return -(-n_patches // per_shard) * (16 * per_shard + 4)
