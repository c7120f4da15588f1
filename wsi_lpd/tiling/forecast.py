"""Forecast of the cost of tiling a slide, measured on a few reads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import imagecodecs
import numpy as np

from wsi_lpd.slide import Slide
from wsi_lpd.stores.sizes import ZSTD_LEVEL, shard_index_bytes
from wsi_lpd.threads import n_threads
from wsi_lpd.tiling.plan import TilingPlan
from wsi_lpd.tiling.tiler import cut_patches
from wsi_lpd.types import UInt8Array

_READS_PER_THREAD = 2


@dataclass(frozen=True)
class Forecast:
    """The forecast for one slide.

    Attributes:
        slide: Its name.
        n_patches: Patches that will be written.
        n_bytes: Size of the store.
        seconds: Duration.
        n_measured: Number of patches that bytes and time were measured on.
    """

    slide: str
    n_patches: int
    n_bytes: int
    seconds: float
    n_measured: int


def forecast(slide: Slide, plan: TilingPlan, *, threads: int | None = None) -> Forecast:
    """Reads and packs a sample of patches spread over the slide and extrapolates time and size."""
    threads = n_threads(threads)
    n_reads = min(len(plan.reads), _READS_PER_THREAD * threads)
    chosen = [plan.reads[i] for i in np.linspace(0, len(plan.reads) - 1, n_reads).astype(int)] if n_reads else []
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        blocks = list(pool.map(lambda read: _packed(cut_patches(slide, read, plan.meta.patch_px)), chosen))
    packed = [len(patch) for block in blocks for patch in block]
    seconds = time.perf_counter() - start
    share = len(plan) / len(packed) if packed else 0.0
    n_bytes = round(sum(packed) * share) + shard_index_bytes(len(plan), plan.meta.patch_px)
    return Forecast(plan.meta.slide.name, len(plan), n_bytes, seconds * share, len(packed))


def _packed(patches: UInt8Array) -> list[bytes]:
    """Patches as a store holds them."""
    return [bytes(imagecodecs.zstd_encode(patch, level=ZSTD_LEVEL)) for patch in patches]
