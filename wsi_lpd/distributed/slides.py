"""The work on slides that may be done elsewhere: by which function, in which folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_lpd.blocks import Begun
from wsi_lpd.config import SegmentConfig
from wsi_lpd.distributed.blocks import BlockWork, outcomes_in_blocks
from wsi_lpd.distributed.cluster import ClusterChoice, connected
from wsi_lpd.distributed.tasks import Outcome
from wsi_lpd.errors import ClusterError
from wsi_lpd.patches.plan import STORE_VERSIONED
from wsi_lpd.patches.slide_task import SlideTask, TiledSlide
from wsi_lpd.versions import versions_of

if TYPE_CHECKING:
    from wsi_lpd.segment.job import SegmentJob
    from wsi_lpd.segment.outputs import Outputs
    from wsi_lpd.segment.summary import SegmentSummary


@dataclass(frozen=True)
class SlideItem:
    """A slide, and what is known of its scale beside its own word.

    Attributes:
        location: Path or URL, as seen from the folder of the call.
        mpp: Micrometres per pixel, or None.
    """

    location: str
    mpp: float | None = None

    def __str__(self) -> str:
        return self.location


def tile_slides(
    choice: ClusterChoice, task: SlideTask, items: Sequence[SlideItem]
) -> Iterator[Outcome[SlideItem, TiledSlide]]:
    """Tiles slides on a cluster; each worker opens its slide and writes its store, or its block of shards of a store.

    Raises:
        ClusterError: If the cluster does not answer.
    """
    with connected(choice) as client:
        yield from outcomes_in_blocks(client, choice, _Tiling(task, Path.cwd()), items)


@dataclass(frozen=True)
class _Tiling(BlockWork[SlideItem, TiledSlide]):
    """Blocks are shards; `folder` is that of the call."""

    task: SlideTask
    folder: Path

    def output(self, item: SlideItem) -> Path:
        return self.task.store_path(item.location)

    def is_there(self, item: SlideItem) -> bool:
        return self.output(item).exists() and not self.task.overwrite

    def kind(self) -> str:
        return str(versions_of(STORE_VERSIONED))

    def whole(self, item: SlideItem) -> TiledSlide:
        go_to(self.folder)
        return self.task.run(item.location, slide_mpp=item.mpp)

    def begin(self, item: SlideItem) -> Begun:
        go_to(self.folder)
        return self.task.begin(item.location, slide_mpp=item.mpp)

    def block(self, item: SlideItem, block: range) -> None:
        go_to(self.folder)
        self.task.make_block(item.location, block, slide_mpp=item.mpp)

    def finish(self, item: SlideItem, begun: Begun) -> TiledSlide:
        go_to(self.folder)
        return self.task.finish(item.location, begun, slide_mpp=item.mpp)


@dataclass(frozen=True)
class SegmentTask:
    """The segmentation of any one slide of a call; it may be pickled and done elsewhere.

    Attributes:
        run: Run folder of the model.
        config: Settings.
        device: As for `choose_device`, in the worker.
        overwrite: Begin anew, whatever is there.
    """

    run: Path
    config: SegmentConfig
    device: str = "auto"
    overwrite: bool = False


def segment_slides(
    choice: ClusterChoice,
    task: SegmentTask,
    items: Sequence[SlideItem],
    targets: Mapping[str, Outputs],
    *,
    n_gpus: int = 0,
) -> Iterator[Outcome[SlideItem, SegmentSummary]]:
    """Segments slides on a cluster; each worker loads the model once, opens its slide and writes its files.

    Where there are more workers than slides, a worker writes its block of strips of a map.

    Args:
        choice: Where to.
        task: What is done.
        items: The slides.
        targets: The files of each, by its location.
        n_gpus: See `connected`.

    Raises:
        ClusterError: If the cluster does not answer.
    """
    with connected(choice, n_gpus=n_gpus) as client:
        yield from outcomes_in_blocks(client, choice, _Segmenting(task, Path.cwd(), dict(targets)), items)


@dataclass(frozen=True)
class _Segmenting(BlockWork["SlideItem", "SegmentSummary"]):
    """Blocks are strips; `folder` is that of the call, `targets` holds the files of each slide."""

    task: SegmentTask
    folder: Path
    targets: Mapping[str, Outputs]

    def output(self, item: SlideItem) -> Path:
        return self.targets[item.location].overlay

    def is_there(self, item: SlideItem) -> bool:
        return self.targets[item.location].are_finished and not self.task.overwrite

    def kind(self) -> str:
        from wsi_lpd.models.device import choose_device, device_name
        from wsi_lpd.segment.slide_map import MAP_VERSIONED

        return f"{device_name(choose_device(self.task.device))} {versions_of(MAP_VERSIONED)}"

    def whole(self, item: SlideItem) -> SegmentSummary:
        job, outputs = self._job(), self.targets[item.location]
        return job.run(item.location, outputs, slide_mpp=item.mpp, overwrite=self.task.overwrite)

    def begin(self, item: SlideItem) -> Begun:
        job, outputs = self._job(), self.targets[item.location]
        return job.begin(item.location, outputs, slide_mpp=item.mpp, overwrite=self.task.overwrite)

    def block(self, item: SlideItem, block: range) -> None:
        self._job().make_block(item.location, self.targets[item.location], block, slide_mpp=item.mpp)

    def finish(self, item: SlideItem, begun: Begun) -> SegmentSummary:
        job, outputs = self._job(), self.targets[item.location]
        return job.finish(item.location, outputs, begun, slide_mpp=item.mpp, overwrite=self.task.overwrite)

    def _job(self) -> SegmentJob:
        go_to(self.folder)
        return _prepared(self.task.run, self.task.config, self.task.device)


@functools.lru_cache(maxsize=1)
def _prepared(run: Path, config: SegmentConfig, device: str) -> SegmentJob:
    """The model of this worker; kept for the next slide."""
    from wsi_lpd.segment.job import SegmentJob

    return SegmentJob.prepare(run, config, device=device)


def go_to(folder: Path) -> None:
    """Makes relative paths mean in a worker what they mean where the call was made.

    Raises:
        ClusterError: If the worker's machine has no such folder.
    """
    try:
        os.chdir(folder)
    except OSError as err:
        raise ClusterError(
            f"{folder}: is not there on a worker's machine ({err.strerror}); call from a folder that all machines share"
        ) from err
