"""The tiling of one slide of a call, in one process or in blocks of shards by several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wsi_lpd.blocks import WorkLeft, muted_warnings
from wsi_lpd.config import TileConfig
from wsi_lpd.errors import StoreError
from wsi_lpd.labels.class_names import check_class_names
from wsi_lpd.labels.patches_csv import check_labels_kept
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.slide import Slide, slide_name
from wsi_lpd.stores.patches import PatchStore
from wsi_lpd.stores.patches_writer import StoreWriter
from wsi_lpd.tiling.forecast import Forecast, forecast
from wsi_lpd.tiling.plan import TilingPlan, open_to_tile, plan_tiling
from wsi_lpd.tiling.preview import PREVIEW_SIDE_PX, write_preview
from wsi_lpd.tiling.tiler import Status, TilingReport, begin_store, make_store, tile_slide, write_missing
from wsi_lpd.types import Float32Array, Int64Array

logger = logging.getLogger(__name__)

CSV_NAME = "patches.csv"

_SHARDS_OF_BLOCK = 4
"""Fewest shards in a block. It opens the slide and finds the tissue anew, for about half as long as a shard takes (0.3
and 0.7 s of one core on a slide of 16,384 x 12,288 px), and the reads at its ends are made twice."""


@dataclass(frozen=True)
class LabelSource:
    """Where the label columns come from.

    Attributes:
        classes: Class columns wanted; None takes the classes of the annotations.
        annotations: A QuPath GeoJSON file, a folder of them, or a pattern with `*` for the slide's name.
        complete: Every area of the classes is drawn; see `annotations.py`.
        origin: Frame of the annotations: auto, level0 or bounds.
    """

    classes: tuple[str, ...] | None = None
    annotations: Path | None = None
    complete: bool = False
    origin: str = "auto"

    def __post_init__(self) -> None:
        check_class_names(self.classes or (), where="--classes")


@dataclass(frozen=True)
class TiledSlide:
    """What is known of a slide once it is tiled; small, so that it may travel from another process.

    Attributes:
        report: What became of it.
        slide: Its name.
        boxes: (x, y, width, height) of its patches in level-0 px, (N, 4).
        tissue: Their tissue fractions, (N,).
        areas: Its annotations by class, or None where it has none.
    """

    report: TilingReport
    slide: str
    boxes: Int64Array
    tissue: Float32Array
    areas: Mapping[str, Sequence[Any]] | None


@dataclass(frozen=True)
class SlideTask:
    """The tiling of any one slide of a call; it may be pickled and done elsewhere.

    Attributes:
        out: Folder of the stores, the previews and `patches.csv`.
        config: How to tile.
        n_slides: Slides of the call.
        labels: Where labels come from.
        threads: Reading threads; None chooses.
        overwrite: Replace finished stores of other settings.
    """

    out: Path
    config: TileConfig
    n_slides: int = 1
    labels: LabelSource = LabelSource()
    threads: int | None = None
    overwrite: bool = False

    @property
    def csv_path(self) -> Path:
        """The label file."""
        return self.out / CSV_NAME

    def store_path(self, location: str | Path) -> Path:
        """The store of a slide."""
        return self.out / f"{slide_name(location)}.zarr"

    def run(self, location: str | Path, *, slide_mpp: float | None = None, progress: Progress = SILENT) -> TiledSlide:
        """Tiles one slide.

        Raises:
            SlideError: If the slide cannot be used.
            StoreError: If its store cannot be written.
            LabelError: If its annotations cannot be used, or labels of an old store would be lost.
        """
        path = self.store_path(location)
        with open_to_tile(location, mpp=slide_mpp) as slide:
            areas, plan = self._planned(slide, path)
            report = tile_slide(slide, path, plan, threads=self.threads, overwrite=self.overwrite, progress=progress)
            return self._tiled(slide, plan, areas, report)

    def begin(self, location: str | Path, *, slide_mpp: float | None = None) -> WorkLeft:
        """Does for others what comes before the first shard; they make blocks of shards, and one of them finishes.

        Somebody holds the lock of the store from before this until it is finished. Errors are those of `run`.
        """
        path = self.store_path(location)
        with muted_warnings(), open_to_tile(location, mpp=slide_mpp) as slide:
            _, plan = self._planned(slide, path)
        writer = begin_store(path, plan, overwrite=self.overwrite)
        if writer is None:
            return WorkLeft(was_finished=True)
        return WorkLeft(writer.missing, [1] * len(writer.missing), _SHARDS_OF_BLOCK, resumed=writer.n_done > 0)

    def make_block(self, location: str | Path, block: range, *, slide_mpp: float | None = None) -> None:
        """Writes what is missing of the shards `block` of a slide that `begin` has begun.

        Raises:
            SlideError: If the slide cannot be used.
            StoreError: If its store cannot be written, or is not what was begun.
        """
        path = self.store_path(location)
        with open_to_tile(location, mpp=slide_mpp) as slide:
            with muted_warnings():
                plan = plan_tiling(slide, self.config)
            writer = StoreWriter(path, meta=plan.meta, coords=plan.coords, tissue=plan.tissue, block=block)
            write_missing(slide, plan, writer, threads=self.threads)

    def finish(self, location: str | Path, work_left: WorkLeft, *, slide_mpp: float | None = None) -> TiledSlide:
        """Puts the store of a slide that `begin` has begun in place; shards that are still missing are made here.

        Errors are those of `run`.
        """
        path, waited_s = self.store_path(location), work_left.waited_s()
        with open_to_tile(location, mpp=slide_mpp) as slide:
            areas, plan = self._planned(slide, path)
            report = make_store(slide, path, plan, threads=self.threads, overwrite=self.overwrite)
            if not work_left.was_finished:
                status: Status = "resumed" if work_left.resumed else "written"
                report = replace(report, status=status, seconds=report.seconds + waited_s)
            return self._tiled(slide, plan, areas, report)

    def foresee(self, location: str | Path, *, slide_mpp: float | None = None) -> Forecast:
        """Predicts patches, bytes and time of a slide from its thumbnail and a few reads; writes nothing."""
        with open_to_tile(location, mpp=slide_mpp) as slide:
            self._areas(slide)
            return forecast(slide, plan_tiling(slide, self.config), threads=self.threads)

    def _areas(self, slide: Slide) -> dict[str, list[Any]] | None:
        if self.labels.annotations is None:
            return None
        from wsi_lpd.labels.annotations import find_annotations  # shapely; see `job.py`
        from wsi_lpd.qupath.regions import read_regions

        path = find_annotations(self.labels.annotations, slide.path, slide.name, n_slides=self.n_slides)
        if path is None:
            logger.warning("%s: no annotations at %s; its patches stay unlabelled", slide.name, self.labels.annotations)
            return None
        regions = read_regions(path, slide_px=slide.size_px, bounds=slide.bounds, origin=self.labels.origin)
        return regions.classes()

    def _planned(self, slide: Slide, path: Path) -> tuple[dict[str, list[Any]] | None, TilingPlan]:
        """Its annotations and its plan, once it is clear that no labels would be lost."""
        areas = self._areas(slide)
        plan = plan_tiling(slide, self.config)
        if self.overwrite:
            self._check_labels(path, plan)
        return areas, plan

    def _tiled(
        self, slide: Slide, plan: TilingPlan, areas: dict[str, list[Any]] | None, report: TilingReport
    ) -> TiledSlide:
        """Draws the preview."""
        boxes = _boxes(plan)
        picture = report.path.with_name(f"{slide.name}.preview.png")
        if report.status != "unchanged" or not picture.exists():
            thumbnail = slide.thumbnail(PREVIEW_SIDE_PX)
            write_preview(picture, thumbnail, slide_px=slide.size_px, mask=plan.mask, boxes=boxes)
        return TiledSlide(report, slide.name, boxes, plan.tissue, areas)

    def _check_labels(self, path: Path, plan: TilingPlan) -> None:
        try:
            fields_change = not PatchStore.open(path).meta.same_fields(plan.meta)
        except StoreError:
            fields_change = False  # no store, or a damaged one: there is nothing to compare with
        check_labels_kept(self.csv_path, [(path.name, plan.coords)], fields_change=fields_change)


def _boxes(plan: TilingPlan) -> Int64Array:
    side = np.full_like(plan.coords, plan.grid.side)
    return np.concatenate([plan.coords, side], axis=1)
