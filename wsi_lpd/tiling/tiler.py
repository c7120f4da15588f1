"""Writes the patch store of a plan: reads in threads, writes whole shards in order, resumes after interruption."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from wsi_lpd.blocks import consecutive_ranges
from wsi_lpd.errors import StoreError
from wsi_lpd.lock import locked
from wsi_lpd.progress import SILENT, Advance, Progress
from wsi_lpd.slide import Slide
from wsi_lpd.stores.patches import PatchStore
from wsi_lpd.stores.patches_writer import StoreWriter, recover, refuse_foreign
from wsi_lpd.threads import ahead, in_order, n_threads
from wsi_lpd.tiling.grid import Read
from wsi_lpd.tiling.plan import TilingPlan
from wsi_lpd.types import UInt8Array

logger = logging.getLogger(__name__)

Status = Literal["written", "resumed", "unchanged"]


@dataclass(frozen=True)
class TilingReport:
    """The outcome of tiling one slide."""

    path: Path
    n_patches: int
    status: Status
    seconds: float


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

    A finished store of the same slide and settings is left unchanged; an unfinished one is resumed at its first missing
    shard and becomes byte-identical to one written without interruption.

    Args:
        slide: The slide that the plan was made for.
        path: The store, such as `out/CMU-1.zarr`.
        plan: From `plan_tiling`.
        threads: Number of reading threads; see `n_threads`.
        overwrite: Replace a finished store. The old one stays until the new one is complete.
        progress: Receives the number of patches.

    Raises:
        StoreError: If a store of other settings exists and `overwrite` is off.
        BusyError: If another process is writing the store.
        SlideError: If the slide is damaged.
    """
    with locked(path) as renew:
        return make_store(slide, path, plan, threads=threads, overwrite=overwrite, renew=renew, progress=progress)


def make_store(
    slide: Slide,
    path: Path,
    plan: TilingPlan,
    *,
    threads: int | None = None,
    overwrite: bool = False,
    renew: Callable[[], None] = lambda: None,
    progress: Progress = SILENT,
) -> TilingReport:
    """The work of `tile_slide`, for a caller that holds the lock or works on behalf of the process that does."""
    start = time.perf_counter()
    writer = begin_store(path, plan, overwrite=overwrite)
    if writer is None:
        return TilingReport(path, len(plan), "unchanged", time.perf_counter() - start)
    n_before = writer.n_done
    if n_before:
        logger.info("%s: resuming with %d of %d patches already written", path.name, n_before, len(plan))
    with progress.stage(f"tile {plan.meta.slide.name}", len(plan), "patches") as advance:
        advance(n_before)
        write_missing(slide, plan, writer, threads=threads, renew=renew, advance=advance)
    writer.finish()
    return TilingReport(path, len(plan), "resumed" if n_before else "written", time.perf_counter() - start)


def begin_store(path: Path, plan: TilingPlan, *, overwrite: bool) -> StoreWriter | None:
    """Resumes an unfinished store or starts a new one; None if the store is finished and stays.

    Raises:
        StoreError: If a store of other settings exists and `overwrite` is off.
    """
    recover(path)
    if path.exists() and not overwrite:
        _check_same(path, plan)
        return None
    if path.exists():
        refuse_foreign(path)
    writer = StoreWriter(path, meta=plan.meta, coords=plan.coords, tissue=plan.tissue)
    if writer.fresh is not None:
        logger.warning("%s: the unfinished store cannot be resumed and is started over: %s", path.name, writer.fresh)
    return writer


def write_missing(
    slide: Slide,
    plan: TilingPlan,
    writer: StoreWriter,
    *,
    threads: int | None = None,
    renew: Callable[[], None] = lambda: None,
    advance: Advance = lambda n: None,
) -> None:
    """Reads and writes the shards that are missing.

    Args:
        slide: The slide that the plan was made for.
        plan: From `plan_tiling`.
        writer: The writer of this plan's store.
        threads: Number of reading threads; see `n_threads`.
        renew: Called after every read.
        advance: Called with the number of patches written.

    Raises:
        SlideError: If the slide is damaged.
        StoreError: If another run has meanwhile started a different store.
    """
    for run in consecutive_ranges(writer.missing):
        wanted = writer.patches_of(run)
        writer.go_to(run.start)
        todo = [r for r in plan.reads if r.first < wanted.stop and r.first + len(r.offsets_px) > wanted.start]
        cut = functools.partial(cut_patches, slide, patch_px=plan.meta.patch_px)
        with closing(ahead(in_order(cut, todo, threads=n_threads(threads)))) as results:
            for read, patches in zip(todo, results, strict=True):
                # The range of shards may start and end inside a read; drop the patches outside the range.
                chosen = patches[max(wanted.start - read.first, 0) : wanted.stop - read.first]
                writer.append(chosen)
                renew()
                advance(len(chosen))


def cut_patches(slide: Slide, read: Read, patch_px: int) -> UInt8Array:
    """Performs one read and cuts out its patches, (n, S, S, 3)."""
    pixels = slide.read(read.box, read.size_px)
    return np.stack([pixels[y : y + patch_px, x : x + patch_px] for x, y in read.offsets_px])


def _check_same(path: Path, plan: TilingPlan) -> None:
    found = PatchStore(path)
    changed = found.meta.differences(plan.meta)
    if not changed and not np.array_equal(found.coords, plan.coords):
        changed = ["another tissue mask"]
    if changed:
        raise StoreError(
            f"{path}: was made with other settings ({'; '.join(changed)}); pass --overwrite to replace it, "
            "or another --out"
        )
