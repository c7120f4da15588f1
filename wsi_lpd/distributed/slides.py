"""The work on slides that may be done elsewhere: by which function, in which folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_lpd.distributed.cluster import ClusterChoice, connected
from wsi_lpd.distributed.tasks import Outcome, outcomes
from wsi_lpd.errors import ClusterError
from wsi_lpd.patches.job import SlideTask, TiledSlide


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
