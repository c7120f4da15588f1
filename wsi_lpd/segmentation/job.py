"""The whole of `segment`: slides and a run to overlays, masks and pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import wsi_lpd
from wsi_lpd.blocks import WorkLeft, muted_warnings
from wsi_lpd.config import SegmentConfig
from wsi_lpd.files import remove_leftovers
from wsi_lpd.lock import locked
from wsi_lpd.memory import keep_freed_blocks
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.engine import choose_engine
from wsi_lpd.models.saved.runs import find_run
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.geojson import place_metadata
from wsi_lpd.overlay.raster.draw import draw_overlay, write_picture
from wsi_lpd.overlay.raster.label_strips import LabelStrips
from wsi_lpd.overlay.raster.mask import write_mask
from wsi_lpd.overlay.stream import StreamedOverlay, write_streamed_overlay
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.segmentation.outputs import Outputs
from wsi_lpd.segmentation.plan import MapPlan
from wsi_lpd.segmentation.sieved import SievedMap
from wsi_lpd.segmentation.slide_map import SlideMap
from wsi_lpd.segmentation.strip_store import StripStore, remove_working_folder
from wsi_lpd.segmentation.summary import SegmentSummary, finished_before
from wsi_lpd.slide import Slide, TissueMask, open_slide

logger = logging.getLogger(__name__)

_PICTURE_SIDE_PX = 2048


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
            ModelError: If there is no such run, no such device, or no such engine.
        """
        run, chosen = find_run(model), choose_device(device)
        choose_engine(config.engine, chosen, n_pixels=0)  # what is not there is told before any slide is opened
        if chosen.type == "cpu":
            keep_freed_blocks()
        return cls(Predictor.load(run, chosen), run, config, progress=progress)

    def run(
        self, location: str, outputs: Outputs, *, slide_mpp: float | None = None, overwrite: bool = False
    ) -> SegmentSummary:
        """Segments one slide and writes what was asked for; the overlay comes last.

        Finished strips are kept in a folder beside the overlay until then. A run that was stopped makes those that are
        missing, and then writes the same files, byte for byte, as an undisturbed one on the same machine.

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
        if outputs.are_finished and not overwrite:
            return finished_before(location, outputs)
        with open_slide(location, mpp=slide_mpp) as slide:
            logger.debug("%s: %.4g um per pixel", slide.location, slide.mpp)  # one without a scale is refused here
            with locked(outputs.overlay) as renew:
                if not _clear(outputs, overwrite=overwrite):
                    return finished_before(location, outputs)
                return self._make(slide, outputs, renew)

    def begin(
        self, location: str, outputs: Outputs, *, slide_mpp: float | None = None, overwrite: bool = False
    ) -> WorkLeft:
        """Does for others what comes before the first strip; they make blocks of strips, and one of them finishes.

        Somebody holds the lock of the overlay from before this until it is finished. Arguments and errors are those of
        `run`.
        """
        if not _clear(outputs, overwrite=overwrite):
            return WorkLeft(was_finished=True)
        with open_slide(location, mpp=slide_mpp) as slide:
            with muted_warnings():
                slide_map = SlideMap.planned(slide, self._predictor, self._config)
            return slide_map.work_left(slide_map.store(outputs.working_folder))

    def make_block(self, location: str, outputs: Outputs, block: range, *, slide_mpp: float | None = None) -> None:
        """Makes what is missing of the strips `block` of a slide that `begin` has begun.

        Raises:
            SlideError: If the slide cannot be read.
            OverlayError: If a strip cannot be written, or the folder is not that of the same map.
        """
        with open_slide(location, mpp=slide_mpp) as slide:
            with muted_warnings():
                slide_map = SlideMap.planned(slide, self._predictor, self._config)
            slide_map.fill(slide_map.store(outputs.working_folder, joins=True), block, progress=self._progress)

    def finish(
        self,
        location: str,
        outputs: Outputs,
        work_left: WorkLeft,
        *,
        slide_mpp: float | None = None,
        overwrite: bool = False,
    ) -> SegmentSummary:
        """Writes the files of a slide that `begin` has begun; strips that are still missing are made here.

        Arguments and errors are those of `run`.
        """
        # The second: a worker has written them and died before it could tell.
        if work_left.was_finished or (not overwrite and not _clear(outputs, overwrite=False)):
            return finished_before(location, outputs)
        waited_s = work_left.waited_s()
        with open_slide(location, mpp=slide_mpp) as slide:
            return self._make(slide, outputs, lambda: None, waited_s=waited_s)

    def _make(
        self, slide: Slide, outputs: Outputs, renew: Callable[[], None], *, waited_s: float = 0.0
    ) -> SegmentSummary:
        """Makes the strips that are missing, and the files; `waited_s` were spent on other strips elsewhere."""
        clock = [time.perf_counter()]
        slide_map = SlideMap.planned(slide, self._predictor, self._config)
        plan = slide_map.plan
        clock.append(time.perf_counter())
        strips = slide_map.store(outputs.working_folder)
        for path in outputs.all():
            remove_leftovers(path)
        n_there = len(plan.strips) - len(strips.missing)
        if n_there:
            logger.info("%s: resuming with %d of %d strips already written", slide.name, n_there, len(plan.strips))
        slide_map.fill(strips, renew=renew, progress=self._progress)
        clock.append(time.perf_counter())
        written = self._write(slide, slide_map.found, plan, strips, outputs)
        strips.remove()
        clock.append(time.perf_counter())
        stages = dict(zip(("tissue", "network", "overlay"), np.diff(clock).tolist(), strict=True))
        stages["network"] += waited_s
        area_mm2 = {c.name: written.areas_px.get(c.name, 0) * plan.mpp**2 / 1e6 for c in plan.classes}
        return SegmentSummary(
            slide.location, str(outputs.overlay), written.n_features, area_mm2, len(plan.places), stages
        )

    def _write(
        self, slide: Slide, tissue: TissueMask, plan: MapPlan, strips: StripStore, outputs: Outputs
    ) -> StreamedOverlay:
        """Writes the files, the overlay last; no step holds the whole map."""
        hole_um2 = self._config.min_hole_um2
        kept = SievedMap(
            strips,
            self._config.min_area_um2 / plan.mpp**2,
            min_hole_px=None if hole_um2 is None else hole_um2 / plan.mpp**2,
        )
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


def _clear(outputs: Outputs, *, overwrite: bool) -> bool:
    """Removes strips that nobody goes on with; whether there is anything to do then."""
    if outputs.are_there or overwrite:
        remove_working_folder(outputs.working_folder)
    return overwrite or not outputs.are_there


def _frame(slide: Slide, plan: MapPlan, origin: str) -> GridFrame:
    """Frame of the overlay, which ends where the slide does.

    Less the bounds that QuPath cuts away, unless the slide's own corner is asked for.
    """
    bounds = slide.bounds
    if origin == "bounds" and bounds is None:
        logger.warning("%s: states no bounds; the overlay is in the frame of the whole slide", slide.location)
    x, y = (0, 0) if bounds is None or origin == "level0" else (bounds.x, bounds.y)
    width, height = slide.size_px
    return GridFrame(plan.downsample, plan.downsample, offset_x=x, offset_y=y, limit_x=width, limit_y=height)
