"""The map of one slide in the making: where the network looks, and strips on disk that one or several processes add."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsi_lpd.blocks import WorkLeft, consecutive_ranges
from wsi_lpd.config import SegmentConfig
from wsi_lpd.memory import give_back_freed_blocks
from wsi_lpd.models.engine import choose_engine
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.segmentation.plan import MapPlan, plan_map
from wsi_lpd.segmentation.segmenter import segment_slide
from wsi_lpd.segmentation.strip_store import StripStore
from wsi_lpd.slide import Slide, TissueMask, find_tissue
from wsi_lpd.versions import versions_of

logger = logging.getLogger(__name__)

MAP_VERSIONED = (
    "imagecodecs", "numpy", "opencv-python-headless", "openslide-bin", "openslide-python", "tiffslide", "timm", "torch",
)  # fmt: skip
"""Packages that decide the bits of a map."""

_NOT_OF_THE_MAP = {
    "simplify", "max_vertices", "min_area_um2", "min_hole_um2", "merge", "origin", "tissue", "tissue_margin_um",
}  # fmt: skip
"""Settings of what is made from the map; the tissue counts by what was found."""

_WINDOWS_OF_BLOCK = 4
"""Least height of a block in windows. The windows that reach its first row are looked at twice, up to one window's
height of them: at most a quarter of its own."""


@dataclass(frozen=True)
class SlideMap:
    """What is planned for an open slide; the same in every process that plans it.

    Attributes:
        slide: An open slide.
        predictor: The model.
        config: Settings.
        found: The tissue of the thumbnail, or of a mask that was given.
        tissue: Where the network looks; see `tissue_to_segment`.
        plan: Its windows and strips.
    """

    slide: Slide
    predictor: Predictor
    config: SegmentConfig
    found: TissueMask
    tissue: TissueMask
    plan: MapPlan

    @classmethod
    def planned(cls, slide: Slide, predictor: Predictor, config: SegmentConfig) -> SlideMap:
        """Finds the tissue and plans the map.

        Raises:
            SlideError: If the slide cannot be read, or does not suit the model; see `plan_map`.
        """
        found = find_tissue(slide, config.tissue)
        if not found.mask.any():
            logger.warning("%s: no tissue found; the overlay will be empty", slide.location)
        tissue = tissue_to_segment(slide, found, predictor, config)
        plan = plan_map(slide, tissue, predictor, config)
        n_pixels = len(plan.places) * plan.grid.window_px**2 * config.views
        if choose_engine(config.engine, predictor.device, n_pixels=n_pixels) == "openvino":
            predictor = predictor.with_openvino(strict=config.engine == "openvino")
            logger.info("%s: OpenVINO runs the encoder", slide.name)
        return cls(slide, predictor, config, found, tissue, plan)

    def store(self, folder: Path, *, joins: bool = False) -> StripStore:
        """The strips in the working folder; see `StripStore`."""
        return StripStore(folder, self.plan.strips, self._identity(), joins=joins)

    def work_left(self, store: StripStore) -> WorkLeft:
        """What is left to do."""
        windows = self.plan.windows_of_strips()
        rows = _WINDOWS_OF_BLOCK * self.plan.side
        return WorkLeft(
            missing=store.missing,
            costs=[1 + windows[i] for i in store.missing],
            least=-(-rows // self.plan.strips.strip_rows),
            resumed=len(store.missing) < len(self.plan.strips),
        )

    def fill(
        self,
        store: StripStore,
        block: range | None = None,
        *,
        renew: Callable[[], None] = lambda: None,
        progress: Progress = SILENT,
    ) -> None:
        """Makes the strips that are missing.

        Args:
            store: Of this map.
            block: Only these strips; None for all.
            renew: Called after every strip.
            progress: Told of every window.

        Raises:
            SlideError: If the slide cannot be read.
            OverlayError: If a strip cannot be written.
        """
        for run in consecutive_ranges([i for i in store.missing if block is None or i in block]):
            with closing(
                segment_slide(
                    self.slide,
                    self.tissue,
                    self.predictor,
                    self.config,
                    plan=self.plan,
                    first=run.start,
                    end=run.stop,
                    progress=progress,
                )
            ) as strips:
                for index, strip in zip(run, strips, strict=True):
                    store.write(index, strip)
                    renew()
                    give_back_freed_blocks()

    def _identity(self) -> dict[str, Any]:
        """All that decides what the strips are."""
        where = hashlib.sha256(np.packbits(self.tissue.mask).tobytes()).hexdigest()
        slide = self.slide
        return {
            "slide": {"fingerprint": slide.fingerprint, "mpp": slide.mpp, "reader": slide.reader},
            "tissue": {"sha256": where, "shape": self.tissue.mask.shape},
            "model": self.predictor.identity,
            "map_mpp": self.plan.mpp,
            "settings": self.config.model_dump(mode="json", exclude=_NOT_OF_THE_MAP),
            "versions": versions_of(MAP_VERSIONED),
        }


def tissue_to_segment(slide: Slide, found: TissueMask, predictor: Predictor, config: SegmentConfig) -> TissueMask:
    """Where the network looks: tissue that was `found`, and a margin around it in which it tells tissue from glass.

    There is no margin for a model that does not know background, and none around a mask that was given.
    """
    if config.tissue.mask is not None or not predictor.knows_background:
        return found
    return found.widened(config.tissue_margin_um / slide.mpp)
