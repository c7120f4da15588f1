"""Tiling on a cluster: one task per slide, or several per slide, each for a block of shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_lpd.blocks import WorkLeft
from wsi_lpd.distributed.blocks import BlockWork, outcomes_in_blocks
from wsi_lpd.distributed.cluster import ClusterChoice, connected
from wsi_lpd.distributed.slides import SlideItem, enter_folder
from wsi_lpd.distributed.tasks import Outcome
from wsi_lpd.tiling.plan import STORE_VERSIONED
from wsi_lpd.tiling.slide_task import SlideTask, TiledSlide
from wsi_lpd.versions import versions_of


def tile_slides(
    choice: ClusterChoice, task: SlideTask, items: Sequence[SlideItem]
) -> Iterator[Outcome[SlideItem, TiledSlide]]:
    """Tiles slides on a cluster; every worker opens its slide and writes a store, or a block of shards of a store.

    Raises:
        ClusterError: If the cluster does not answer.
    """
    with connected(choice) as client:
        yield from outcomes_in_blocks(client, choice, _Tiling(task, Path.cwd()), items)


@dataclass(frozen=True)
class _Tiling(BlockWork[SlideItem, TiledSlide]):
    """A block is a range of shards; `folder` is the working directory of the call."""

    task: SlideTask
    folder: Path

    def output(self, item: SlideItem) -> Path:
        return self.task.store_path(item.location)

    def is_there(self, item: SlideItem) -> bool:
        return self.output(item).exists() and not self.task.overwrite

    def kind(self) -> str:
        return str(versions_of(STORE_VERSIONED))

    def whole(self, item: SlideItem) -> TiledSlide:
        enter_folder(self.folder)
        return self.task.run(item.location, slide_mpp=item.mpp)

    def begin(self, item: SlideItem) -> WorkLeft:
        enter_folder(self.folder)
        return self.task.begin(item.location, slide_mpp=item.mpp)

    def block(self, item: SlideItem, block: range) -> None:
        enter_folder(self.folder)
        self.task.make_block(item.location, block, slide_mpp=item.mpp)

    def finish(self, item: SlideItem, work_left: WorkLeft) -> TiledSlide:
        enter_folder(self.folder)
        return self.task.finish(item.location, work_left, slide_mpp=item.mpp)
