"""From a slide to a patch store: plan, read in threads, write whole shards in order, go on after a kill."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from wsi_lpd.config import TileConfig
from wsi_lpd.errors import SlideError, StoreError
from wsi_lpd.lock import locked
from wsi_lpd.patches.grid import UPSAMPLING_TOLERANCE, PatchGrid, Read, lay_grid, patches_per_read, plan_reads
from wsi_lpd.patches.meta import SlideIdentity, StoreMeta
from wsi_lpd.patches.shard import pack
from wsi_lpd.patches.store import PatchStore, StoreWriter, recover, refuse_foreign
from wsi_lpd.progress import SILENT, Advance, Progress
from wsi_lpd.slide import Slide, TissueMask, find_tissue, open_slide
from wsi_lpd.slide.resample import choose_level
from wsi_lpd.threads import in_order, n_threads
from wsi_lpd.types import Box, Float32Array, Int64Array, UInt8Array
from wsi_lpd.versions import versions_of

logger = logging.getLogger(__name__)

_VERSIONED = ("imagecodecs", "numpy", "opencv-python-headless", "openslide-bin", "openslide-python", "tiffslide")

Status = Literal["written", "resumed", "unchanged"]


@dataclass(frozen=True)
class TilingPlan:
    """All that is decided before the first full-resolution read.

    Attributes:
        meta: The attributes of the store.
        grid: Where patches could lie.
        coords: Corners of the kept patches in the order of the store, level-0 px, (N, 2).
        tissue: Their tissue fractions, (N,).
        reads: What is read for them, in order.
        mask: Where the tissue is.
    """

    meta: StoreMeta
    grid: PatchGrid
    coords: Int64Array
    tissue: Float32Array
    reads: list[Read]
    mask: TissueMask

    def __len__(self) -> int:
        return len(self.coords)


@dataclass(frozen=True)
class TilingReport:
    """What became of one slide."""

    path: Path
    n_patches: int
    status: Status
    seconds: float


def open_to_tile(location: str | Path, *, mpp: float | None = None) -> Slide:
    """Opens a slide that has, or is given, a resolution.

    Raises:
        SlideError: If it cannot be opened, or nothing states its mpp.
    """
    slide = open_slide(location, mpp=mpp)
    if slide.resolution is None:
        slide.close()
        _ = slide.mpp  # raises, and says what was looked for
    return slide


def plan_tiling(slide: Slide, config: TileConfig) -> TilingPlan:
    """Decides which patches of a slide are kept, from its thumbnail alone.

    Raises:
        SlideError: If the slide has no mpp, or is coarser than the patches and up-sampling is not allowed.
        ConfigError: If the step is below one pixel of the slide.
    """
    mpp = slide.mpp
    for warning in slide.resolution.warnings if slide.resolution is not None else ():
        logger.warning("%s: %s", slide.name, warning)
    _refuse_upsampling(slide, config)
    area = Box(0, 0, *slide.size_px) if slide.bounds is None else slide.bounds
    grid = lay_grid(area, slide_mpp=mpp, mpp=config.mpp, patch_px=config.patch_px, step_px=config.step_px)
    mask = find_tissue(slide, config.tissue)
    cells = grid.cells()
    tissue = mask.fractions(grid.boxes(cells))
    kept = tissue >= config.min_tissue
    cells, tissue = cells[kept], tissue[kept]
    level = choose_level(slide.levels, grid.scale)
    per_side = patches_per_read(grid, slide.levels[level].downsample)
    order, reads = plan_reads(grid, cells, per_side=per_side)
    coords = grid.boxes(cells[order])[:, :2]
    if not len(cells):
        logger.warning("%s: no tissue: no patch has a tissue fraction of %g or more", slide.name, config.min_tissue)
    return TilingPlan(_meta(slide, config, grid, level), grid, coords, tissue[order].astype(np.float32), reads, mask)


def tile_slide(
    slide: Slide,
    path: Path,
    plan: TilingPlan,
    *,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> TilingReport:
    """Writes the patches of a plan to the store at `path`.

    A finished store of the same slide and settings is left alone; an unfinished one is continued at its first missing
    shard, and is then the same, byte for byte, as one written without a break.

    Args:
        slide: The slide that the plan was made for.
        path: The store, such as `out/CMU-1.zarr`.
        plan: From `plan_tiling`.
        threads: Threads that read; see `n_threads`.
        overwrite: Replace a finished store. The old one stays until the new one is complete.
        progress: Told of every patch.

    Raises:
        StoreError: If a store of other settings is there and `overwrite` is off.
        BusyError: If another process writes it.
        SlideError: If the slide is damaged.
    """
    start = time.perf_counter()
    with locked(path) as renew:
        recover(path)
        if path.exists() and not overwrite:
            _check_same(path, plan)
            return TilingReport(path, len(plan), "unchanged", time.perf_counter() - start)
        if path.exists():
            refuse_foreign(path)
        writer = StoreWriter(path, meta=plan.meta, coords=plan.coords, tissue=plan.tissue)
        n_before = writer.n_done
        if writer.fresh is not None:
            logger.warning("%s: an unfinished store is begun anew: %s", path.name, writer.fresh)
        if n_before:
            logger.info("%s: goes on after %d of %d patches", path.name, n_before, len(plan))
        with progress.stage(f"tile {plan.meta.slide.name}", len(plan), "patches") as advance:
            _write(slide, plan, writer, n_threads(threads), renew, advance)
        writer.finish()
    return TilingReport(path, len(plan), "resumed" if n_before else "written", time.perf_counter() - start)


def cut_patches(slide: Slide, read: Read, patch_px: int) -> UInt8Array:
    """Makes one read and cuts its patches out, (n, S, S, 3)."""
    pixels = slide.read(read.box, read.size_px)
    return np.stack([pixels[y : y + patch_px, x : x + patch_px] for x, y in read.offsets_px])


def _cut_and_pack(slide: Slide, read: Read, patch_px: int) -> list[bytes]:
    return pack(cut_patches(slide, read, patch_px))


def _write(
    slide: Slide, plan: TilingPlan, writer: StoreWriter, threads: int, renew: Callable[[], None], advance: Advance
) -> None:
    n_done = writer.n_done
    advance(n_done)
    todo = [read for read in plan.reads if read.first + len(read.offsets_px) > n_done]
    patch_px = plan.meta.patch_px
    with closing(in_order(lambda read: _cut_and_pack(slide, read, patch_px), todo, threads=threads)) as results:
        for read, packed in zip(todo, results, strict=True):
            # A resumed run may begin inside a read: what its shard holds already is not written again.
            fresh = packed[max(n_done - read.first, 0) :]
            writer.append(fresh)
            renew()
            advance(len(fresh))


def _check_same(path: Path, plan: TilingPlan) -> None:
    found = PatchStore(path)
    changed = found.meta.differences(plan.meta)
    if not changed and not np.array_equal(found.coords, plan.coords):
        changed = ["other tissue was found"]
    if changed:
        raise StoreError(
            f"{path}: exists with other settings ({'; '.join(changed)}); pass --overwrite to replace it, "
            "or another --out"
        )


def _refuse_upsampling(slide: Slide, config: TileConfig) -> None:
    if slide.mpp > config.mpp * UPSAMPLING_TOLERANCE and not config.allow_upsampling:
        raise SlideError(
            f"{slide.path}: has {slide.mpp:.4g} um/px at best, coarser than the {config.mpp:g} um/px asked for; "
            f"pass --mpp {slide.mpp:.4g} or more, or enlarge it with --set tile.allow_upsampling=true"
        )


def _meta(slide: Slide, config: TileConfig, grid: PatchGrid, level: int) -> StoreMeta:
    assert slide.resolution is not None  # plan_tiling has refused such a slide
    source = slide.resolution.source
    mask = config.tissue.mask
    return StoreMeta(
        slide=SlideIdentity(
            name=slide.name,
            fingerprint=slide.fingerprint,
            size_px=slide.size_px,
            vendor=slide.vendor,
            bounds=slide.bounds,
            mpp=slide.mpp,
        ),
        mpp=config.mpp,
        mpp_source="user" if source.startswith("--") else source,  # the flag it was given by
        patch_px=config.patch_px,
        patch_level0_px=grid.side,
        stride_px=config.step_px,
        level=level,
        config=config.model_dump(mode="json"),
        tissue_mask=None if mask is None else f"sha256:{hashlib.sha256(mask.read_bytes()).hexdigest()}",
        versions=versions_of(_VERSIONED),
    )
