"""A plugin for the workers of a test: small shards and strips, notes of who does what, and a kill."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

from distributed import WorkerPlugin

from wsi_lpd.config import SegmentConfig, TissueConfig

SHARD_PATCHES = 40
STRIP_ROWS = 24
CONFIG = SegmentConfig(overlap=0.25, batch_size=7, min_area_um2=0, tissue=TissueConfig(preset="everything"))


def make_small(set_attribute=setattr):
    """Shards of `SHARD_PATCHES` patches of 48 px, strips of `STRIP_ROWS` rows."""
    from wsi_lpd.segmentation import plan
    from wsi_lpd.segmentation.strips import StripGrid
    from wsi_lpd.stores import sizes as shard

    set_attribute(shard, "SHARD_BYTES", SHARD_PATCHES * 48 * 48 * 3)
    set_attribute(plan, "StripGrid", partial(StripGrid, strip_rows=STRIP_ROWS))


def job():
    """A network that sees colours, and whose answer depends on the batch."""
    from colour_predictor import MoodyPredictor

    from wsi_lpd.segmentation.job import SegmentJob

    return SegmentJob(MoodyPredictor(mpp=0.61), Path("run"), CONFIG)


class Meddling(WorkerPlugin):
    """Set up in every worker, also in one that is started again.

    `<folder>/written` gets a line per shard or strip: its number, the process, and the one that holds the lock. A
    worker that is about to write the piece named in `<folder>/dies at` kills itself, once.
    """

    name = "meddling"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, worker: object) -> None:
        from wsi_lpd.segmentation import cluster
        from wsi_lpd.segmentation.strip_store import StripStore
        from wsi_lpd.stores.patches_writer import StoreWriter

        make_small()
        cluster._prepared = lambda *_: job()
        write_shard, write_strip = StoreWriter._write_shard, StripStore.write

        def shard(writer: StoreWriter) -> None:
            number = writer._next
            self._die_when_due(number)
            write_shard(writer)
            self._note(number, writer.path)

        def strip(store: StripStore, index: int, found: object) -> None:
            self._die_when_due(index)
            write_strip(store, index, found)
            self._note(index, store.folder.with_suffix(""))

        StoreWriter._write_shard, StripStore.write = shard, strip

    def _die_when_due(self, number: int) -> None:
        order = self.folder / "dies at"
        if order.exists() and order.read_text() == str(number):
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, number: int, output: Path) -> None:
        holder = json.loads(output.with_name(f"{output.name}.lock").read_text())["pid"]
        with (self.folder / "written").open("a") as stream:
            stream.write(f"{number} {os.getpid()} {holder}\n")
