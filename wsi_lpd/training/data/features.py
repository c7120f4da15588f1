"""The cache of a frozen encoder's maps on disk: a zarr v3 group that opens with plain `zarr.open`.

    scale0, scale1 ...  float16 (N, V, h, w, D)   the maps of N patches in V views, channels last
    attributes          what they belong to: encoder and hash of its weights, patches, views, precision, versions

Chunks are not compressed and hold whole patches, so that the maps of a patch are read with one seek.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.sources import LabelTable, PatchSource
from wsi_lpd.stores.layout import LITTLE, METADATA, array_metadata, write_json

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
        """Bytes of every chunk file of a scale, the last one's too."""
        return _DTYPE.itemsize * self.chunk_patches * self.n_views * math.prod(self.shapes[scale])

    def chunk_name(self, scale: int, chunk: int) -> str:
        """File of a chunk within the cache."""
        return f"scale{scale}/c/{chunk}/0/0/0/0"

    def create(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Writes a cache without any chunk."""
        write_json(path, {"attributes": dict(identity), "zarr_format": 3, "node_type": "group"})
        for scale, shape in enumerate(self.shapes):
            metadata = array_metadata(
                (self.n_patches, self.n_views, *shape),
                "float16",
                chunk_shape=(self.chunk_patches, self.n_views, *shape),
                fill_value=0.0,
                codecs=[LITTLE],
                dimension_names=("patch", "view", "y", "x", "channel"),
            )
            write_json(path / f"scale{scale}", metadata)

    def is_whole(self, path: Path, chunk: int) -> bool:
        """Whether a chunk of all scales is there."""
        files = [path / self.chunk_name(scale, chunk) for scale in range(len(self.shapes))]
        return all(
            file.is_file() and file.stat().st_size == self.chunk_bytes(scale) for scale, file in enumerate(files)
        )


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
        in_chunk: dict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            in_chunk[row // self.layout.chunk_patches].append(place)
        maps = []
        for scale, shape in enumerate(self.layout.shapes):
            values = np.empty((len(rows), *shape), _DTYPE)
            for chunk, places in in_chunk.items():
                self._read_chunk(scale, chunk, [(p, rows[p], codes[p]) for p in places], values)
            maps.append(torch.from_numpy(values).to(device).float().permute(0, 3, 1, 2))
        return maps

    def _read_chunk(self, scale: int, chunk: int, wanted: list[tuple[int, int, int]], values: np.ndarray) -> None:
        path = self.path / self.layout.chunk_name(scale, chunk)
        view_bytes = values[0].nbytes
        try:
            with path.open("rb", buffering=0) as stream:
                for place, row, code in wanted:
                    within = row % self.layout.chunk_patches * self.layout.n_views + code
                    stream.seek(within * view_bytes)
                    if stream.readinto(memoryview(values[place]).cast("B")) != view_bytes:
                        raise OSError("it is cut off")
        except OSError as err:
            raise TrainingError(f"{path}: cannot be read ({err}); remove {self.path} to have it made anew") from err


def found_identity(path: Path) -> dict[str, Any] | None:
    """What the cache at `path`, finished or not, belongs to; None where there is none."""
    try:
        tree = json.loads((path / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    attributes = tree.get("attributes") if isinstance(tree, dict) else None
    return attributes if isinstance(attributes, dict) else None
