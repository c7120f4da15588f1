"""The plan of tiling a slide: which patches are kept, and how they are read."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsi_lpd.config import TileConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.memory import give_back_freed_blocks
from wsi_lpd.slide import Slide, TissueMask, find_tissue, open_slide
from wsi_lpd.slide.resample import choose_level
from wsi_lpd.slide.resolution import is_too_coarse
from wsi_lpd.stores.patches_meta import SlideIdentity, StoreMeta
from wsi_lpd.tiling.grid import PatchGrid, Read, lay_grid, patches_per_read, plan_reads
from wsi_lpd.types import Box, Float32Array, Int64Array
from wsi_lpd.versions import versions_of

logger = logging.getLogger(__name__)

STORE_VERSIONED = ("imagecodecs", "numpy", "opencv-python-headless", "openslide-bin", "openslide-python", "tiffslide")
"""Packages whose version may change the bytes of a store."""


@dataclass(frozen=True)
class TilingPlan:
    """Everything that is decided before the first full-resolution read.

    Attributes:
        meta: The attributes of the store.
        grid: All possible patches.
        coords: Top-left corners of the kept patches in the order of the store, level-0 px, (N, 2).
        tissue: Their tissue fractions, (N,).
        reads: The reads that fetch them, in order.
        mask: The tissue mask.
    """

    meta: StoreMeta
    grid: PatchGrid
    coords: Int64Array
    tissue: Float32Array
    reads: list[Read]
    mask: TissueMask

    def __len__(self) -> int:
        return len(self.coords)


def open_to_tile(location: str | Path, *, mpp: float | None = None) -> Slide:
    """Opens a slide and makes sure that its mpp is known.

    Raises:
        SlideError: If it cannot be opened, or its mpp is unknown.
    """
    slide = open_slide(location, mpp=mpp)
    if slide.resolution is None:
        slide.close()
        _ = slide.mpp  # raises SlideError if unknown
    return slide


def plan_tiling(slide: Slide, config: TileConfig) -> TilingPlan:
    """Decides from the thumbnail alone which patches of a slide are kept.

    Raises:
        SlideError: If the slide has no mpp, or is coarser than the patches and up-sampling is not allowed.
        ConfigError: If the stride is below one pixel of the slide.
    """
    mpp = slide.mpp
    for warning in slide.warnings:
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
    give_back_freed_blocks()  # memory of the tissue detection
    if not len(cells):
        logger.warning("%s: no tissue: no patch has a tissue fraction of %g or more", slide.name, config.min_tissue)
    return TilingPlan(_meta(slide, config, grid, level), grid, coords, tissue[order].astype(np.float32), reads, mask)


def _refuse_upsampling(slide: Slide, config: TileConfig) -> None:
    if is_too_coarse(slide.mpp, config.mpp) and not config.allow_upsampling:
        raise SlideError(
            f"{slide.path}: has {slide.mpp:.4g} um/px at best, coarser than the requested {config.mpp:g} um/px; "
            f"pass --mpp {slide.mpp:.4g} or more, or allow enlarging with --set tile.allow_upsampling=true"
        )


def _meta(slide: Slide, config: TileConfig, grid: PatchGrid, level: int) -> StoreMeta:
    assert slide.resolution is not None  # plan_tiling raises for such a slide
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
        mpp_source="user" if source.startswith("--") else source,  # the source of a user's value is the option's name
        patch_px=config.patch_px,
        patch_level0_px=grid.side,
        stride_px=config.step_px,
        level=level,
        config=config.model_dump(mode="json"),
        tissue_mask=None if mask is None else f"sha256:{hashlib.sha256(mask.read_bytes()).hexdigest()}",
        versions=versions_of(STORE_VERSIONED),
    )
