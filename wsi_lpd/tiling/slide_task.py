"""Tiling of one slide, in one process or by several, each writing a block of shards."""

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
"""Fewest shards per block. Each block opens the slide and detects the tissue again, which takes about half as long as a
shard (0.3 and 0.7 s of one core on a slide of 16,384 x 12,288 px), and repeats the reads at its ends."""


@dataclass(frozen=True)
class LabelSource:
    """The source of the label columns.

    Attributes:
        classes: Class columns to write; None takes the classes of the annotations.
        annotations: A QuPath GeoJSON file, a folder of them, or a pattern with `*` for the slide's name.
        complete: Whether every area of the classes is annotated; see `annotations.py`.
        origin: Frame of the annotations: `auto`, `level0` or `bounds`.
    """

    classes: tuple[str, ...] | None = None
    annotations: Path | None = None
    complete: bool = False
    origin: str = "auto"

    def __post_init__(self) -> None:
        check_class_names(self.classes or (), where="--classes")


@dataclass(frozen=True)
class TiledSlide:
    """The result of tiling one slide; small enough to be sent between processes.

    Attributes:
        report: Its status and counts.
        slide: Its name.
        boxes: (x, y, width, height) of its patches in level-0 px, (N, 4).
        tissue: Their tissue fractions, (N,).
        areas: Its annotations by class, or None if it has none.
    """

    report: TilingReport
    slide: str
    boxes: Int64Array
    tissue: Float32Array
    areas: Mapping[str, Sequence[Any]] | None


@dataclass(frozen=True)
class SlideTask:
    """Tiles single slides of a call; can be pickled and run in another process.

    Attributes:
        out: Folder of the stores, the previews and `patches.csv`.
        config: Tiling settings.
        n_slides: Number of slides of the call.
        labels: Source of the label columns.
        threads: Number of reading threads; None = chosen automatically.
        overwrite: Replace finished stores, also those of other settings.
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
            LabelError: If its annotations cannot be used, or labels in the label file would be lost.
        """
        path = self.store_path(location)
        with open_to_tile(location, mpp=slide_mpp) as slide:
            areas, plan = self._planned(slide, path)
            report = tile_slide(slide, path, plan, threads=self.threads, overwrite=self.overwrite, progress=progress)
            return self._tiled(slide, plan, areas, report)

    def begin(self, location: str | Path, *, slide_mpp: float | None = None) -> WorkLeft:
        """Does for others what comes before the first shard; they make blocks of shards, and one of them finishes.

        The caller holds the lock of the store from before this call until `finish` has returned. Raises as `run`.
        """
        path = self.store_path(location)
        with muted_warnings(), open_to_tile(location, mpp=slide_mpp) as slide:
            _, plan = self._planned(slide, path)
        writer = begin_store(path, plan, overwrite=self.overwrite)
        if writer is None:
            return WorkLeft(was_finished=True)
        return WorkLeft(writer.missing, [1] * len(writer.missing), _SHARDS_OF_BLOCK, resumed=writer.n_done > 0)

    def make_block(self, location: str | Path, block: range, *, slide_mpp: float | None = None) -> None:
        """Writes the missing shards in the range `block` of a store that `begin` has prepared.

        Raises:
            SlideError: If the slide cannot be used.
            StoreError: If its store cannot be written, or is not the one that was prepared.
        """
        path = self.store_path(location)
        with open_to_tile(location, mpp=slide_mpp) as slide:
            with muted_warnings():
                plan = plan_tiling(slide, self.config)
            writer = StoreWriter(path, meta=plan.meta, coords=plan.coords, tissue=plan.tissue, block=block)
            write_missing(slide, plan, writer, threads=self.threads)

    def finish(self, location: str | Path, work_left: WorkLeft, *, slide_mpp: float | None = None) -> TiledSlide:
        """Puts the store of a slide that `begin` has begun in place; shards that are still missing are made here.

        Raises as `run`.
        """
        path, waited_s = self.store_path(location), work_left.waited_s()
        with open_to_tile(location, mpp=slide_mpp) as slide:
            areas, plan = self._planned(slide, path)
            report = make_store(slide, path, plan, threads=self.threads, overwrite=self.overwrite)
            if not work_left.was_finished:
                status: Status = "resumed" if work_left.resumed else "written"
                report = replace(report, status=status, seconds=report.seconds + waited_s)
            return self._tiled(slide, plan, areas, report)

    def forecast(self, location: str | Path, *, slide_mpp: float | None = None) -> Forecast:
        """Forecasts patches, bytes and time from the thumbnail and a few reads; writes nothing."""
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
            logger.warning(
                "%s: no annotations at %s; its patches are not labelled", slide.name, self.labels.annotations
            )
            return None
        regions = read_regions(path, slide_px=slide.size_px, bounds=slide.bounds, origin=self.labels.origin)
        return regions.classes()

    def _planned(self, slide: Slide, path: Path) -> tuple[dict[str, list[Any]] | None, TilingPlan]:
        """Annotations and plan of a slide, after checking that no labels would be lost."""
        areas = self._areas(slide)
        plan = plan_tiling(slide, self.config)
        if self.overwrite:
            self._check_labels(path, plan)
        return areas, plan

    def _tiled(
        self, slide: Slide, plan: TilingPlan, areas: dict[str, list[Any]] | None, report: TilingReport
    ) -> TiledSlide:
        """Writes the preview and returns the result."""
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
            fields_change = False  # no store or a damaged one: nothing to compare with
        check_labels_kept(self.csv_path, [(path.name, plan.coords)], fields_change=fields_change)


def _boxes(plan: TilingPlan) -> Int64Array:
    side = np.full_like(plan.coords, plan.grid.side)
    return np.concatenate([plan.coords, side], axis=1)
