"""Filling the cache of a frozen encoder's maps: once, whatever interrupts it, never for other patches or weights."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from wsi_lpd.errors import TrainingError
from wsi_lpd.files import remove
from wsi_lpd.labels.sources import LabelTable, PatchSource, read_patches
from wsi_lpd.lock import locked
from wsi_lpd.models.device import autocast, to_images
from wsi_lpd.models.network import TissueNetwork
from wsi_lpd.models.views import VIEWS, turned
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.stores.patches import partial_path
from wsi_lpd.stores.patches_writer import put_in_place
from wsi_lpd.training.data.features import CacheLayout, FeatureCache, MapShape, found_identity
from wsi_lpd.training.processes import ALONE, Processes
from wsi_lpd.versions import versions_of

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 2
_LONGEST_WAIT_S: Final = 12 * 3600.0
"""For another run that makes the same cache."""


def cached_features(
    network: TissueNetwork,
    tables: Sequence[LabelTable],
    *,
    folder: Path,
    flips: bool,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype | None,
    processes: Processes = ALONE,
    progress: Progress = SILENT,
) -> FeatureCache:
    """The maps of a frozen encoder for all patches of some tables, from disk, or computed now.

    One cache is for all runs with this encoder on these patches, whatever their split, seed, method or prototypes. What
    it belongs to is written into it and compared, so that one of other weights, patches or precision is never used.
    Chunks that an interrupted run has finished are kept; several processes share the others out.

    Args:
        network: Its encoder is frozen.
        tables: Labelled patches.
        folder: Where caches are kept.
        flips: Whether patches are learnt in all eight flips and turns; else as they are.
        batch_size: Images per forward pass.
        device: Where the network is.
        dtype: Half precision of the forward pass, or None.
        processes: This process among those that train together.
        progress: Told of every patch.

    Raises:
        TrainingError: If the disk has no room, or the cache cannot be read.
        BusyError: If another run has been making this cache for half a day.
    """
    sources = sorted({s for table in tables for s in table.sources}, key=lambda s: (str(s.path), s.index or 0))
    shapes = tuple(_shape(tables[0], width, r) for width, r in _widths(network))
    layout = CacheLayout(len(sources), VIEWS if flips else 1, shapes)
    identity = _identity(network, sources, layout, tables[0].patch_px, dtype)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{_file_name(network.encoder.name)}-{key}.zarr"
    cache = FeatureCache(path, layout, sources)
    if processes.from_first(found_identity(path) == identity):
        logger.info("%s: maps of the frozen encoder are read from here", path)
        return cache
    lock = locked(path, wait_s=_LONGEST_WAIT_S) if processes.is_first else nullcontext(_nothing)
    with lock as renew:
        if processes.from_first(found_identity(path) == identity):  # made by another run meanwhile
            return cache
        partial = partial_path(path)
        missing: list[int] = []
        if processes.is_first:
            missing = _begun(partial, identity, layout)
            _check_room(folder, layout, missing, flips=flips)
            logger.info(
                "%s: computing maps of the frozen encoder once: %d patches in %d view(s), %.3g GB",
                path, layout.n_patches, layout.n_views, layout.n_bytes / 1e9,
            )  # fmt: skip
        missing = processes.from_first(missing)
        mine = missing[processes.rank :: processes.count]
        images = _Images(replace(tables[0], sources=tuple(sources), truth_masks=None), layout, device, batch_size)
        with progress.stage("features", sum(len(layout.chunk_rows(c)) for c in mine), "patches") as advance:
            writers = layout.writers(partial) if mine else []
            for chunk in mine:
                arrays = images.chunk_maps(network, chunk, dtype, on_patches=lambda n: (advance(n), renew()))
                for writer, values in zip(writers, arrays, strict=True):
                    writer.write(chunk, values)
        processes.gathered(torch.zeros(1))  # all of them have written
        if processes.is_first:
            put_in_place(partial, path)
        processes.from_first(None)
    return cache


class _Images:
    """Patches as the encoder sees them, a chunk at a time."""

    def __init__(self, table: LabelTable, layout: CacheLayout, device: torch.device, batch_size: int) -> None:
        self._table = table
        self._layout = layout
        self._device = device
        self._batch_size = batch_size

    @torch.no_grad()
    def chunk_maps(
        self, network: TissueNetwork, chunk: int, dtype: torch.dtype | None, *, on_patches: Callable[[int], object]
    ) -> list[np.ndarray]:
        """Maps float16 (n * V, h, w, D) of a chunk's patches, one array per scale."""
        layout = self._layout
        rows = layout.chunk_rows(chunk)
        arrays = [np.zeros((len(rows), layout.n_views, *shape), np.float16) for shape in layout.shapes]
        batches = [rows[i : i + self._batch_size] for i in range(0, len(rows), self._batch_size)]
        with ThreadPoolExecutor(max_workers=2) as pool:
            for batch, patches in zip(batches, pool.map(lambda b: read_patches(self._table, b), batches), strict=True):
                images = to_images(torch.from_numpy(patches), self._device)
                places = slice(batch.start - rows.start, batch.stop - rows.start)
                for code in range(layout.n_views):
                    with autocast(self._device, dtype):
                        maps = network.maps(turned(images, code))
                    for values, found in zip(arrays, maps, strict=True):
                        values[places, code] = found.permute(0, 2, 3, 1).half().cpu().numpy()
                on_patches(len(batch))
        return [values.reshape(-1, *values.shape[2:]) for values in arrays]


def _widths(network: TissueNetwork) -> Iterator[tuple[int, int]]:
    encoder = network.encoder
    return zip(encoder.channels, encoder.reductions, strict=True)


def _shape(table: LabelTable, width: int, reduction: int) -> MapShape:
    if table.patch_px is None:
        raise TrainingError("the patches state no size, so their maps cannot be cached; set train.cache_features=false")
    side = math.ceil(table.patch_px / reduction)
    return side, side, width


def _identity(
    network: TissueNetwork,
    sources: Sequence[PatchSource],
    layout: CacheLayout,
    patch_px: int | None,
    dtype: torch.dtype | None,
) -> dict[str, Any]:
    """Everything that decides the maps."""
    encoder = network.encoder
    return {
        "format": "wsi-lpd features",
        "format_version": FORMAT_VERSION,
        "encoder": encoder.name,
        "architecture": encoder.blueprint.architecture,
        "arguments": dict(encoder.blueprint.arguments),
        "weights": encoder.weights,
        "licence": encoder.licence,
        "weights_sha256": _digest_of_weights(network),
        "scales": list(encoder.scales),
        "reductions": list(encoder.reductions),
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "precision": str(dtype),
        "patch_px": patch_px,
        "views": layout.n_views,
        "n_patches": layout.n_patches,
        "patches_sha256": _digest_of_patches(sources),
        "versions": versions_of(("torch", "timm")),
    }


def _digest_of_weights(network: TissueNetwork) -> str:
    digest = hashlib.sha256()
    for name, value in network.encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest_of_patches(sources: Sequence[PatchSource]) -> str:
    """Hash of where the patches lie, and of what tells that a file is still the same: its size and time of change.

    A store's pixels are in its shards; a copied or newly made store so counts as another.
    """
    digest = hashlib.sha256()
    seen: dict[Path, str] = {}
    for source in sources:
        if source.path not in seen:
            seen[source.path] = _stamp(source.path)
        digest.update(f"{source.path.resolve()}|{source.index}|{seen[source.path]}\n".encode())
    return digest.hexdigest()


def _stamp(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = [(str(file), file.stat()) for file in files]
    return json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def _begun(partial: Path, identity: dict[str, Any], layout: CacheLayout) -> list[int]:
    """Chunks that an unfinished cache lacks; one of something else is begun anew."""
    if found_identity(partial) != identity:
        remove(partial)
        partial.parent.mkdir(parents=True, exist_ok=True)
        layout.create(partial, identity)
    writers = layout.writers(partial)
    return [chunk for chunk in range(layout.n_chunks) if not all(writer.is_there(chunk) for writer in writers)]


def _check_room(folder: Path, layout: CacheLayout, missing: Sequence[int], *, flips: bool) -> None:
    needed = sum(layout.chunk_bytes(scale) for scale in range(len(layout.shapes))) * len(missing)
    free = shutil.disk_usage(folder).free
    if needed > free:
        less = f"augment.flips=false keeps one view instead of {VIEWS}, " if flips else ""
        raise TrainingError(
            f"{folder}: the maps of {layout.n_patches} patches take {needed / 1e9:.3g} GB, {free / 1e9:.3g} GB are "
            f"free; {less}train.cache_dir names another disk, fewer model.scales take less"
        )


def _file_name(encoder: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in encoder.rpartition("/")[2]) or "encoder"


def _nothing() -> None:
    """Others need not renew the first process's lock."""
