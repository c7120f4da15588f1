"""The work on slides that may be done elsewhere: by which function, in which folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_lpd.config import SegmentConfig
from wsi_lpd.distributed.cluster import ClusterChoice, connected
from wsi_lpd.distributed.tasks import Outcome, outcomes
from wsi_lpd.errors import ClusterError
from wsi_lpd.patches.job import SlideTask, TiledSlide

if TYPE_CHECKING:
    from wsi_lpd.segment.job import SegmentJob, SegmentSummary
    from wsi_lpd.segment.outputs import Outputs


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
    """Tiles slides on a cluster; each worker opens its slide and writes its store.

    Raises:
        ClusterError: If the cluster does not answer.
    """
    work = functools.partial(_tile, task, Path.cwd())
    with connected(choice) as client:
        yield from outcomes(client, work, items)


def _tile(task: SlideTask, folder: Path, item: SlideItem) -> TiledSlide:
    go_to(folder)
    return task.run(item.location, slide_mpp=item.mpp)


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

    Args:
        choice: Where to.
        task: What is done.
        items: The slides.
        targets: The files of each, by its location.
        n_gpus: See `connected`.

    Raises:
        ClusterError: If the cluster does not answer.
    """
    work = functools.partial(_segment, task, Path.cwd(), dict(targets))
    with connected(choice, n_gpus=n_gpus) as client:
        yield from outcomes(client, work, items)


def _segment(task: SegmentTask, folder: Path, targets: Mapping[str, Outputs], item: SlideItem) -> SegmentSummary:
    go_to(folder)
    job = _prepared(task.run, task.config, task.device)
    return job.run(item.location, targets[item.location], slide_mpp=item.mpp, overwrite=task.overwrite)


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
