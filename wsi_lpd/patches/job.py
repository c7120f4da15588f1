"""The whole of `tile`: slides to stores and previews, and one label file for the call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsi_lpd.classes import QUPATH_CLASSES, qupath_classes
from wsi_lpd.config import TileConfig
from wsi_lpd.errors import StoreError
from wsi_lpd.lock import locked
from wsi_lpd.patches.annotations import find_annotations, label_patches, read_areas
from wsi_lpd.patches.forecast import Forecast, forecast
from wsi_lpd.patches.patches_csv import CsvReport, StoreRows, check_labels_kept, write_patches_csv
from wsi_lpd.patches.preview import PREVIEW_SIDE_PX, write_preview
from wsi_lpd.patches.store import PatchStore
from wsi_lpd.patches.table import find_class
from wsi_lpd.patches.tiler import TilingPlan, TilingReport, open_to_tile, plan_tiling, tile_slide
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.slide import Slide, slide_name
from wsi_lpd.types import Float32Array, Int64Array

logger = logging.getLogger(__name__)

CSV_NAME = "patches.csv"
_CSV_WAIT_S = 60.0


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
            areas = self._areas(slide)
            plan = plan_tiling(slide, self.config)
            if self.overwrite:
                self._check_labels(path, plan)
            report = tile_slide(slide, path, plan, threads=self.threads, overwrite=self.overwrite, progress=progress)
            boxes = _boxes(plan)
            self._preview(slide, plan, boxes, path, report)
        return TiledSlide(report, slide.name, boxes, plan.tissue, areas)

    def foresee(self, location: str | Path, *, slide_mpp: float | None = None) -> Forecast:
        """Predicts patches, bytes and time of a slide from its thumbnail and a few reads; writes nothing."""
        with open_to_tile(location, mpp=slide_mpp) as slide:
            self._areas(slide)
            return forecast(slide, plan_tiling(slide, self.config), threads=self.threads)

    def _areas(self, slide: Slide) -> dict[str, list[Any]] | None:
        if self.labels.annotations is None:
            return None
        path = find_annotations(self.labels.annotations, slide.path, slide.name, n_slides=self.n_slides)
        if path is None:
            logger.warning("%s: no annotations at %s; its patches stay unlabelled", slide.name, self.labels.annotations)
            return None
        return read_areas(path, bounds=slide.bounds, origin=self.labels.origin)

    def _check_labels(self, path: Path, plan: TilingPlan) -> None:
        try:
            fields_change = not PatchStore.open(path).meta.same_fields(plan.meta)
        except StoreError:
            fields_change = False  # no store, or a damaged one: there is nothing to compare with
        check_labels_kept(self.csv_path, [(path.name, plan.coords)], fields_change=fields_change)

    def _preview(self, slide: Slide, plan: TilingPlan, boxes: Int64Array, path: Path, report: TilingReport) -> None:
        picture = path.with_name(f"{slide.name}.preview.png")
        if report.status == "unchanged" and picture.exists():
            return
        thumbnail = slide.thumbnail(PREVIEW_SIDE_PX)
        write_preview(picture, thumbnail, slide_px=slide.size_px, mask=plan.mask, boxes=boxes)


class TileJob:
    """One call of `tile`: every slide, here or elsewhere, then the label file."""

    def __init__(self, task: SlideTask) -> None:
        """`task` is done for each slide.

        Raises:
            LabelError: If the label file there cannot be merged: told now, not after hours.
        """
        self.task = task
        self._done: list[TiledSlide] = []
        self._owner: dict[str, str] = {}
        check_labels_kept(task.csv_path, [])

    def run(self, location: str | Path, *, slide_mpp: float | None = None, progress: Progress = SILENT) -> TilingReport:
        """Tiles one slide, here and now; raises as `SlideTask.run`, and `StoreError` where two slides share a name."""
        self.claim(location)
        try:
            tiled = self.task.run(location, slide_mpp=slide_mpp, progress=progress)
        except BaseException:
            del self._owner[self.task.store_path(location).name]  # another slide of that name may be whole
            raise
        self.take(tiled)
        return tiled.report

    def claim(self, location: str | Path) -> None:
        """Notes that the store of this slide is taken.

        Raises:
            StoreError: If another slide of the call has the same name.
        """
        name = self.task.store_path(location).name
        if name in self._owner:
            raise StoreError(
                f"{location}: its store {name} would take the place of that of {self._owner[name]}; "
                "tile one of them into another --out"
            )
        self._owner[name] = str(location)

    def take(self, tiled: TiledSlide) -> None:
        """Notes what became of a slide, for the label file."""
        self._done.append(tiled)

    def finish(self) -> CsvReport | None:
        """Writes the label file over all slides that were tiled; None if there were none.

        Raises:
            LabelError: If the file there cannot be merged.
        """
        if not self._done:
            return None
        classes = self._classes()
        order = {name: i for i, name in enumerate(self._owner)}  # that of the call, whichever was done first
        stores = [
            StoreRows(
                tiled.report.path.name, tiled.slide, tiled.boxes[:, :2], tiled.tissue, self._labels_of(tiled, classes)
            )
            for tiled in sorted(self._done, key=lambda tiled: order[tiled.report.path.name])
        ]
        csv_path = self.task.csv_path
        with locked(csv_path, wait_s=_CSV_WAIT_S):
            report = write_patches_csv(csv_path, stores, classes)
        if report.n_disagree:
            logger.warning(
                "%s: %d cells keep their old label where the annotations now say otherwise; to take the annotations, "
                "move the file away and run tile again",
                csv_path, report.n_disagree,
            )  # fmt: skip
        return report

    def _classes(self) -> tuple[str, ...]:
        found = in_standard_order(name for tiled in self._done for name in tiled.areas or ())
        if self.task.labels.classes is None:
            return tuple(found)
        if self.task.labels.annotations is not None and any(tiled.areas is not None for tiled in self._done):
            _warn_of_absent(self.task.labels.classes, found)
        return self.task.labels.classes

    def _labels_of(self, tiled: TiledSlide, classes: Sequence[str]) -> Any:
        if tiled.areas is None:
            return None
        return label_patches(
            tiled.areas,
            classes,
            boxes=tiled.boxes,
            tissue=tiled.tissue,
            config=self.task.config,
            complete=self.task.labels.complete,
        )


def in_standard_order(names: Iterable[str]) -> list[str]:
    """Class names once each: QuPath's own in its order, then the others by name. Files list them in any order."""
    ranks = {c.name: rank for rank, c in enumerate(QUPATH_CLASSES)}
    distinct: list[str] = []
    for name in sorted(set(names), key=lambda n: (ranks.get(qupath_classes([n])[0].name, len(ranks)), n)):
        if find_class(name, distinct) is None:
            distinct.append(name)
    return distinct


def _boxes(plan: TilingPlan) -> Int64Array:
    side = np.full_like(plan.coords, plan.grid.side)
    return np.concatenate([plan.coords, side], axis=1)


def _warn_of_absent(classes: Sequence[str], found: Sequence[str]) -> None:
    absent = [name for name in classes if find_class(name, found) is None]
    if absent:
        logger.warning(
            "class %s is in no annotation; the annotations have %s", ", ".join(absent), ", ".join(found) or "no classes"
        )
