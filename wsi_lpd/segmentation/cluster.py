"""Segmentation on a cluster: whole slides, or blocks of the strips of one."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_lpd.blocks import WorkLeft
from wsi_lpd.config import SegmentConfig
from wsi_lpd.distributed.blocks import BlockWork, outcomes_in_blocks
from wsi_lpd.distributed.cluster import ClusterChoice, connected
from wsi_lpd.distributed.slides import SlideItem, enter_folder
from wsi_lpd.distributed.tasks import Outcome
from wsi_lpd.versions import versions_of

if TYPE_CHECKING:
    from wsi_lpd.segmentation.job import SegmentJob
    from wsi_lpd.segmentation.outputs import Outputs
    from wsi_lpd.segmentation.summary import SegmentSummary


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
        from wsi_lpd.segmentation.slide_map import MAP_VERSIONED

        return f"{device_name(choose_device(self.task.device))} {versions_of(MAP_VERSIONED)}"

    def whole(self, item: SlideItem) -> SegmentSummary:
        job, outputs = self._job(), self.targets[item.location]
        return job.run(item.location, outputs, slide_mpp=item.mpp, overwrite=self.task.overwrite)

    def begin(self, item: SlideItem) -> WorkLeft:
        job, outputs = self._job(), self.targets[item.location]
        return job.begin(item.location, outputs, slide_mpp=item.mpp, overwrite=self.task.overwrite)

    def block(self, item: SlideItem, block: range) -> None:
        self._job().make_block(item.location, self.targets[item.location], block, slide_mpp=item.mpp)

    def finish(self, item: SlideItem, work_left: WorkLeft) -> SegmentSummary:
        job, outputs = self._job(), self.targets[item.location]
        return job.finish(item.location, outputs, work_left, slide_mpp=item.mpp, overwrite=self.task.overwrite)

    def _job(self) -> SegmentJob:
        enter_folder(self.folder)
        return _prepared(self.task.run, self.task.config, self.task.device)


@functools.lru_cache(maxsize=1)
def _prepared(run: Path, config: SegmentConfig, device: str) -> SegmentJob:
    """The model of this worker; kept for the next slide."""
    from wsi_lpd.segmentation.job import SegmentJob

    return SegmentJob.prepare(run, config, device=device)
