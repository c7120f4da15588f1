"""The whole of `segment`: slides and a run to overlays, masks and pictures."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import wsi_lpd
from wsi_lpd.config import SegmentConfig
from wsi_lpd.lock import locked
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.runs import find_run
from wsi_lpd.overlay.draw import draw_overlay, write_picture
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.geojson import place_metadata
from wsi_lpd.overlay.label_strips import LabelStrips
from wsi_lpd.overlay.mask import write_mask
from wsi_lpd.overlay.stream import StreamedOverlay, write_streamed_overlay
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.segment.outputs import Outputs
from wsi_lpd.segment.plan import MapPlan, plan_map
from wsi_lpd.segment.predictor import Predictor
from wsi_lpd.segment.segmenter import segment_slide
from wsi_lpd.segment.sieved import SievedMap
from wsi_lpd.segment.strip_store import StripStore, remove_working_folder
from wsi_lpd.slide import Slide, TissueMask, find_tissue, open_slide
from wsi_lpd.versions import versions_of

logger = logging.getLogger(__name__)

_PICTURE_SIDE_PX = 2048
_NOT_OF_THE_MAP = {"simplify", "max_vertices", "min_area_um2", "merge", "origin", "tissue"}
"""Settings of what is made from the map; the tissue counts by what was found."""
_VERSIONED = (
    "imagecodecs", "numpy", "opencv-python-headless", "openslide-bin", "openslide-python", "tiffslide", "timm", "torch",
)  # fmt: skip


@dataclass(frozen=True)
class SegmentSummary:
    """What became of one slide."""

    slide: str
    overlay: str
    n_regions: int
    area_mm2: dict[str, float]
    """Area of each class on the label map."""
    n_windows: int
    seconds: dict[str, float]
    was_finished: bool = False

    def text(self) -> str:
        """One line for people."""
        if self.was_finished:
            return f"{self.overlay}: is there already; --overwrite redoes it"
        areas = ", ".join(f"{name} {area:.2f}" for name, area in self.area_mm2.items())
        return f"{self.overlay}: {self.n_regions} regions in {sum(self.seconds.values()):.1f} s; mm2: {areas}"

    def as_dict(self) -> dict[str, object]:
        """The summary as plain values for JSON."""
        return asdict(self)


class SegmentJob:
    """A model and settings, for any number of slides."""

    def __init__(self, predictor: Predictor, run: Path, config: SegmentConfig, *, progress: Progress = SILENT) -> None:
        self._predictor = predictor
        self._run = run
        self._config = config
        self._progress = progress

    @classmethod
    def prepare(
        cls, model: Path | None, config: SegmentConfig, *, device: str = "auto", progress: Progress = SILENT
    ) -> SegmentJob:
        """Loads the run that is asked for, or the newest.

        Raises:
            ModelError: If there is no such run, or no such device.
        """
        run = find_run(model)
        return cls(Predictor.load(run, choose_device(device)), run, config, progress=progress)

    def run(
        self, location: str, outputs: Outputs, *, slide_mpp: float | None = None, overwrite: bool = False
    ) -> SegmentSummary:
        """Segments one slide and writes what was asked for; the overlay comes last.

        Finished strips are kept in a folder beside the overlay until then. A run that was stopped goes on at the first
        unfinished strip, and then writes the same files, byte for byte, as an undisturbed one on the same machine.

        Args:
            location: The slide.
            outputs: What to write.
            slide_mpp: Micrometres per pixel of level 0, where the file's own word is missing or wrong.
            overwrite: Begin anew, whatever is there.

        Raises:
            SlideError: If the slide cannot be read.
            OverlayError: If a file cannot be written.
            BusyError: If another process is writing the overlay.
        """
        finished = SegmentSummary(location, str(outputs.overlay), 0, {}, 0, {}, was_finished=True)
        if outputs.are_there and not outputs.working_folder.exists() and not overwrite:
            return finished
        with open_slide(location, mpp=slide_mpp) as slide:
            logger.debug("%s: %.4g um per pixel", slide.location, slide.mpp)  # one without a scale is refused here
            with locked(outputs.overlay) as renew:
                if outputs.are_there or overwrite:
                    remove_working_folder(outputs.working_folder)
                return finished if outputs.are_there and not overwrite else self._make(slide, outputs, renew)

    def _make(self, slide: Slide, outputs: Outputs, renew: Callable[[], None]) -> SegmentSummary:
        clock = [time.perf_counter()]
        tissue = find_tissue(slide, self._config.tissue)
        if not tissue.mask.any():
            logger.warning("%s: no tissue found; the overlay will be empty", slide.location)
        clock.append(time.perf_counter())
        plan = plan_map(slide, tissue, self._predictor, self._config)
        strips = self._segmented(slide, tissue, plan, outputs.working_folder, renew)
        clock.append(time.perf_counter())
        written = self._write(slide, tissue, plan, strips, outputs)
        strips.remove()
        clock.append(time.perf_counter())
        stages = dict(zip(("tissue", "network", "overlay"), np.diff(clock).tolist(), strict=True))
        area_mm2 = {c.name: written.areas_px.get(c.name, 0) * plan.mpp**2 / 1e6 for c in plan.classes}
        return SegmentSummary(
            slide.location, str(outputs.overlay), written.n_features, area_mm2, len(plan.places), stages
        )

    def _segmented(
        self, slide: Slide, tissue: TissueMask, plan: MapPlan, folder: Path, renew: Callable[[], None]
    ) -> StripStore:
        """All strips, those that were there and the others."""
        store = StripStore(folder, plan.strips, self._identity(slide, tissue, plan))
        if store:
            logger.info("%s: goes on after %d of %d strips", slide.name, len(store), len(plan.strips))
        with closing(
            segment_slide(
                slide, tissue, self._predictor, self._config, plan=plan, first=len(store), progress=self._progress
            )
        ) as strips:
            for strip in strips:
                store.append(strip)
                renew()
        return store

    def _identity(self, slide: Slide, tissue: TissueMask, plan: MapPlan) -> dict[str, Any]:
        """All that decides what the strips are."""
        where = hashlib.sha256(np.packbits(tissue.mask).tobytes()).hexdigest()
        return {
            "slide": {"fingerprint": slide.fingerprint, "mpp": slide.mpp, "reader": slide.reader},
            "tissue": {"sha256": where, "shape": tissue.mask.shape},
            "model": self._predictor.identity,
            "map_mpp": plan.mpp,
            "settings": self._config.model_dump(mode="json", exclude=_NOT_OF_THE_MAP),
            "versions": versions_of(_VERSIONED),
        }

    def _write(
        self, slide: Slide, tissue: TissueMask, plan: MapPlan, strips: StripStore, outputs: Outputs
    ) -> StreamedOverlay:
        """Writes the files, the overlay last; no step holds the whole map."""
        kept = SievedMap(strips, self._config.min_area_um2 / plan.mpp**2)
        frame = _frame(slide, plan, self._config.origin)
        self._write_images(slide, tissue, plan, kept, frame, outputs)
        return write_streamed_overlay(
            outputs.overlay,
            kept.strips,
            plan.classes,
            frame=frame,
            tolerance_px=self._config.simplify,
            max_vertices=self._config.max_vertices,
            merge=self._config.merge,
            pixel_area_um2=plan.mpp**2,
            slide=slide.fingerprint,
            metadata=self._provenance(slide, plan, frame),
        )

    def _write_images(
        self,
        slide: Slide,
        tissue: TissueMask,
        plan: MapPlan,
        label_strips: LabelStrips,
        frame: GridFrame,
        outputs: Outputs,
    ) -> None:
        if outputs.mask is not None:
            provenance = self._provenance(slide, plan, frame)
            write_mask(outputs.mask, label_strips, plan.classes, mpp=plan.mpp, frame=frame, metadata=provenance)
        if outputs.picture is not None:
            thumbnail = slide.thumbnail(_PICTURE_SIDE_PX)
            picture = draw_overlay(
                thumbnail,
                label_strips,
                plan.classes,
                mpp=slide.size_px.width * slide.mpp / thumbnail.shape[1],
                tissue=tissue.mask,
                title=slide.name,
            )
            write_picture(outputs.picture, picture)

    def _provenance(self, slide: Slide, plan: MapPlan, frame: GridFrame) -> Mapping[str, str]:
        card = self._predictor.card
        resolution = slide.resolution
        return {
            **place_metadata(slide_px=slide.size_px, frame=frame, classes=plan.classes),
            "origin": f"bounds({frame.offset_x},{frame.offset_y})" if frame.offset_x or frame.offset_y else "level0",
            "tool": f"wsi-lpd {wsi_lpd.__version__}",
            "slide": slide.name,
            "slide_fingerprint": slide.fingerprint,
            "slide_mpp": f"{slide.mpp:.6g}",
            "slide_mpp_source": "" if resolution is None else resolution.source,
            "model": self._run.name,
            "model_sha256": str(card.weights_sha256),
            "model_mpp": f"{card.mpp:.6g}",
            "map_mpp": f"{plan.mpp:.6g}",
            "settings": self._config.model_dump_json(),
        }


def _frame(slide: Slide, plan: MapPlan, origin: str) -> GridFrame:
    """Frame of the overlay: less the bounds that QuPath cuts away, unless the slide's own corner is asked for."""
    bounds = slide.bounds
    if origin == "bounds" and bounds is None:
        logger.warning("%s: states no bounds; the overlay is in the frame of the whole slide", slide.location)
    x, y = (0, 0) if bounds is None or origin == "level0" else (bounds.x, bounds.y)
    return GridFrame(plan.downsample, plan.downsample, offset_x=x, offset_y=y)
