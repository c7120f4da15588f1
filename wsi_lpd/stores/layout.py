"""The files of a store but its shards: metadata and small arrays, laid out as zarr v3 says.

Zarr itself takes a third of a second to import, a tenth of the whole time on a slide of 800 patches. A test holds what
is written here equal to what it writes, byte for byte.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np

from wsi_lpd.errors import StoreError
from wsi_lpd.stores.patches_meta import StoreMeta
from wsi_lpd.stores.shard import ZSTD_LEVEL, patches_per_shard
from wsi_lpd.types import AnyArray, Float32Array, Int64Array

METADATA: Final = "zarr.json"

LITTLE: Final = {"name": "bytes", "configuration": {"endian": "little"}}
_ZSTD: Final = {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}


def create(path: Path, meta: StoreMeta, coords: Int64Array, tissue: Float32Array) -> None:
    """Writes a store without a single patch.

    Args:
        path: Its folder, which must not be there.
        meta: Its attributes.
        coords: See `store.py`; (N, 2).
        tissue: See `store.py`; (N,).
    """
    group = {"attributes": meta.model_dump(mode="json"), "zarr_format": 3, "node_type": "group"}
    write_json(path, group)
    write_json(path / "patches", _patches_metadata(len(coords), meta.patch_px))
    _write_filled(path / "coords", coords, "int64", ("patch", "xy"))
    _write_filled(path / "tissue", tissue, "float32", ("patch",))


def read_array(path: Path, name: str) -> AnyArray:
    """A whole small array of the store at `path`.

    Raises:
        StoreError: If it cannot be read, or is not laid out as `create` does.
    """
    folder = path / name
    try:
        tree = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        shape, dtype = tuple(tree["shape"]), np.dtype(tree["data_type"]).newbyteorder("<")
        if [codec["name"] for codec in tree["codecs"]] != ["bytes", "zstd"]:
            raise ValueError("it is not laid out as tile writes it")
        data = imagecodecs.zstd_decode(_chunk_path(folder, len(shape)).read_bytes()) if shape[0] else b""
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as err:
        raise StoreError(f"{path}: `{name}` cannot be read ({err}); tile the slide again with --overwrite") from err


def _patches_metadata(n_patches: int, side_px: int) -> dict[str, Any]:
    return sharded_metadata(
        (n_patches, side_px, side_px, 3),
        patches_per_shard(side_px),
        fill_value=255,
        dimension_names=("patch", "y", "x", "rgb"),
    )


def sharded_metadata(
    shape: tuple[int, ...], per_shard: int, *, fill_value: int, dimension_names: tuple[str, ...]
) -> dict[str, Any]:
    """Metadata of a uint8 array of one chunk per patch, with many of them in a shard.

    Args:
        shape: The first dimension counts patches.
        per_shard: Patches of a shard.
        fill_value: Of what is not written.
        dimension_names: One per dimension.
    """
    sharding = {
        "chunk_shape": [1, *shape[1:]],
        "codecs": [{"name": "bytes"}, _ZSTD],
        "index_codecs": [LITTLE, {"name": "crc32c"}],
        "index_location": "end",
    }
    return array_metadata(
        shape,
        "uint8",
        chunk_shape=(per_shard, *shape[1:]),
        fill_value=fill_value,
        codecs=[{"name": "sharding_indexed", "configuration": sharding}],
        dimension_names=dimension_names,
    )


def array_metadata(
    shape: tuple[int, ...],
    data_type: str,
    *,
    chunk_shape: tuple[int, ...],
    fill_value: float,
    codecs: list[dict[str, Any]],
    dimension_names: tuple[str, ...],
) -> dict[str, Any]:
    """The metadata of an array, in zarr's own order of the keys."""
    return {
        "shape": shape,
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill_value,
        "codecs": codecs,
        "attributes": {},
        "dimension_names": dimension_names,
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _write_filled(folder: Path, values: AnyArray, data_type: str, dimension_names: tuple[str, ...]) -> None:
    """An array in one chunk; an empty one has none."""
    values = values.astype(np.dtype(data_type).newbyteorder("<"))
    metadata = array_metadata(
        values.shape,
        data_type,
        chunk_shape=(max(len(values), 1), *values.shape[1:]),
        fill_value=values.dtype.type(0).item(),
        codecs=[LITTLE, _ZSTD],
        dimension_names=dimension_names,
    )
    write_json(folder, metadata)
    if len(values):
        chunk = _chunk_path(folder, values.ndim)
        chunk.parent.mkdir(parents=True)
        chunk.write_bytes(imagecodecs.zstd_encode(values.tobytes(), level=ZSTD_LEVEL))


def _chunk_path(folder: Path, n_dimensions: int) -> Path:
    """The first chunk of an array."""
    return folder.joinpath("c", *["0"] * n_dimensions)


def write_json(folder: Path, tree: dict[str, Any]) -> None:
    """Makes the folder of a group or array, with its metadata."""
    folder.mkdir(parents=True)
    (folder / METADATA).write_text(json.dumps(tree, indent=2), encoding="utf-8")
