"""The cache of a frozen encoder's maps on disk: a zarr v3 group that opens with plain `zarr.open`.

    scale0, scale1 ...  float16 (N * V, h, w, D)   the maps of N patches in V views each, channels last
    attributes          what they belong to: encoder and hash of its weights, patches, views, precision, versions

Item `V * patch + view` is one chunk with a checksum, not compressed, so that a map is read with one seek.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from wsi_lpd.errors import StoreError, TrainingError
from wsi_lpd.labels.sources import LabelTable, PatchSource
from wsi_lpd.process_local import PerProcess
from wsi_lpd.stores.arrays import Group, Items, ShardWriter, create_group, create_items
from wsi_lpd.stores.sizes import METADATA

CHUNK_BYTES: Final = 128 * 2**20
"""Aimed size of the chunks of all scales together: what building holds in memory, and the most a kill costs."""

_DTYPE: Final = np.dtype("<f2")

MapShape = tuple[int, int, int]
"""Height, width and channels of a map."""


@dataclass(frozen=True)
class MapsOf:
    """Maps (B, D_s, h_s, w_s) of these images (B, 3, H, W)."""

    images: Tensor
    maps: list[Tensor]


@dataclass(frozen=True)
class CacheLayout:
    """Where the maps of a patch lie.

    Attributes:
        n_patches: N.
        n_views: V.
        shapes: Of the maps of one view, one entry per scale.
    """

    n_patches: int
    n_views: int
    shapes: tuple[MapShape, ...]

    @property
    def patch_bytes(self) -> int:
        """Bytes of one patch, all views and scales."""
        return _DTYPE.itemsize * self.n_views * sum(math.prod(shape) for shape in self.shapes)

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole cache."""
        return self.n_patches * self.patch_bytes

    @property
    def chunk_patches(self) -> int:
        """Patches in a chunk."""
        return max(1, min(CHUNK_BYTES // self.patch_bytes, self.n_patches))

    @property
    def n_chunks(self) -> int:
        """Chunks of one scale."""
        return -(-self.n_patches // self.chunk_patches)

    def chunk_rows(self, chunk: int) -> range:
        """Patches in a chunk."""
        first = chunk * self.chunk_patches
        return range(first, min(first + self.chunk_patches, self.n_patches))

    def chunk_bytes(self, scale: int) -> int:
        """Bytes of every whole chunk of a scale."""
        return _DTYPE.itemsize * self.chunk_patches * self.n_views * math.prod(self.shapes[scale])

    def create(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Writes a cache without any chunk; its attributes come last."""
        for scale, shape in enumerate(self.shapes):
            create_items(
                path,
                scale_name(scale),
                (self.n_patches * self.n_views, *shape),
                "float16",
                per_shard=self.chunk_patches * self.n_views,
                fill_value=0.0,
                dimension_names=("patch and view", "y", "x", "channel"),
                compress=False,
            )
        create_group(path, identity)

    def writers(self, path: Path) -> list[ShardWriter]:
        """What writes the chunks of each scale."""
        return [ShardWriter(path, scale_name(scale)) for scale in range(len(self.shapes))]


def scale_name(scale: int) -> str:
    """Name of the array of a scale."""
    return f"scale{scale}"


class FeatureCache:
    """A complete cache, open for reading; it holds no file open, and nothing in memory but where each patch is.

    Args:
        path: Its folder.
        layout: Of its arrays.
        sources: The patch of every row.
    """

    def __init__(self, path: Path, layout: CacheLayout, sources: Sequence[PatchSource]) -> None:
        self.path = path
        self.layout = layout
        self._scales = PerProcess(self._open)
        self._row = {source: row for row, source in enumerate(sources)}

    def rows(self, table: LabelTable) -> list[int]:
        """Rows of the patches of a table, all of which the cache was made for."""
        return [self._row[source] for source in table.sources]

    def read(self, rows: Sequence[int], codes: Sequence[int], *, device: torch.device) -> list[Tensor]:
        """Maps of some patches, float32 (B, D_s, h_s, w_s) on the device; they travel there in half precision.

        Args:
            rows: Which patches, B.
            codes: View of each, numbered as in `wsi_lpd.models.views`.
            device: Where they are wanted.

        Raises:
            TrainingError: If a chunk is missing or cut off.
        """
        places = np.asarray(rows, np.int64) * self.layout.n_views + np.asarray(codes, np.int64)
        try:
            found = [items.read(places) for items in self._scales.get()]
        except StoreError as err:
            raise TrainingError(f"{err}; remove {self.path} to have it made again") from err
        return [torch.from_numpy(values).to(device).float().permute(0, 3, 1, 2) for values in found]

    def _open(self) -> list[Items]:
        group = Group(self.path)
        return [group.items(scale_name(scale)) for scale in range(len(self.layout.shapes))]


def found_identity(path: Path) -> dict[str, Any] | None:
    """What the cache at `path`, finished or not, belongs to; None where there is none."""
    if not (path / METADATA).is_file():
        return None
    try:
        return Group(path).attributes
    except StoreError:
        return None
