"""The `tile` job: a store and a preview per slide, and one label file for all."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wsi_lpd.classes import QUPATH_CLASSES, qupath_classes
from wsi_lpd.errors import StoreError
from wsi_lpd.labels.patches_csv import CsvReport, StoreRows, check_labels_kept, write_patches_csv
from wsi_lpd.labels.table import find_class
from wsi_lpd.lock import locked
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.tiling.slide_task import SlideTask, TiledSlide
from wsi_lpd.tiling.tiler import TilingReport

logger = logging.getLogger(__name__)

_CSV_WAIT_S = 60.0


class TileJob:
    """One call of `tile`: all slides, locally or on a cluster, then the label file."""

    def __init__(self, task: SlideTask) -> None:
        """`task` is run for each slide.

        Raises:
            LabelError: If the existing label file cannot be merged; raised now rather than after hours.
        """
        self.task = task
        self._done: list[TiledSlide] = []
        self._owner: dict[str, str] = {}
        check_labels_kept(task.csv_path, [])

    def run(self, location: str | Path, *, slide_mpp: float | None = None, progress: Progress = SILENT) -> TilingReport:
        """Tiles one slide in this process; raises as `SlideTask.run`, and `StoreError` if two slides share a name."""
        self.claim(location)
        try:
            tiled = self.task.run(location, slide_mpp=slide_mpp, progress=progress)
        except BaseException:
            del self._owner[self.task.store_path(location).name]  # another slide of that name may be intact
            raise
        self.take(tiled)
        return tiled.report

    def claim(self, location: str | Path) -> None:
        """Reserves the store name of a slide.

        Raises:
            StoreError: If another slide of the call has the same name.
        """
        name = self.task.store_path(location).name
        if name in self._owner:
            raise StoreError(
                f"{location}: its store {name} would replace that of {self._owner[name]}; "
                "expected distinct file names; tile one of them into another --out"
            )
        self._owner[name] = str(location)

    def take(self, tiled: TiledSlide) -> None:
        """Records a tiled slide for the label file."""
        self._done.append(tiled)

    def finish(self) -> CsvReport | None:
        """Writes the label file of all tiled slides; returns None if there are none.

        Raises:
            LabelError: If the existing file cannot be merged.
        """
        if not self._done:
            return None
        classes = self._classes()
        order = {name: i for i, name in enumerate(self._owner)}  # in the order of the call, whichever finished first
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
                "%s: %d cells keep their old label although the annotations now differ; to use the annotations, move "
                "the file away and run tile again",
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
        from wsi_lpd.labels.annotations import label_patches  # needs shapely, which tiling alone does not

        return label_patches(
            tiled.areas,
            classes,
            boxes=tiled.boxes,
            tissue=tiled.tissue,
            config=self.task.config,
            complete=self.task.labels.complete,
        )


def in_standard_order(names: Iterable[str]) -> list[str]:
    """Distinct class names: QuPath's built-in classes in its order, then the others by name."""
    ranks = {c.name: rank for rank, c in enumerate(QUPATH_CLASSES)}
    distinct: list[str] = []
    for name in sorted(set(names), key=lambda n: (ranks.get(qupath_classes([n])[0].name, len(ranks)), n)):
        if find_class(name, distinct) is None:
            distinct.append(name)
    return distinct


def _warn_of_absent(classes: Sequence[str], found: Sequence[str]) -> None:
    absent = [name for name in classes if find_class(name, found) is None]
    if absent:
        logger.warning("no annotation has the class %s; found %s", ", ".join(absent), ", ".join(found) or "no classes")
