"""The whole of `segment`: slides and a run to overlays, masks and pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import wsi_lpd
from wsi_lpd.config import SegmentConfig
from wsi_lpd.errors import OverlayError
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.runs import find_run
from wsi_lpd.overlay.draw import draw_overlay, write_picture
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.geojson import place_metadata, region_features, write_overlay
from wsi_lpd.overlay.mask import write_mask
from wsi_lpd.overlay.measure import measure_regions, merge_by_class
from wsi_lpd.overlay.sieve import merge_small
from wsi_lpd.overlay.simplify import simplify_regions
from wsi_lpd.overlay.trace import to_level0, trace_regions
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.segment.predictor import Predictor
from wsi_lpd.segment.segmenter import segment_slide
from wsi_lpd.segment.slide_map import SlideMap
from wsi_lpd.slide import Slide, TissueMask, find_tissue, open_slide
from wsi_lpd.types import UInt8Array

logger = logging.getLogger(__name__)

_PICTURE_SIDE_PX = 2048
_OVERLAY_ENDINGS = (".geojson", ".geojson.gz", ".json")


@dataclass(frozen=True)
class Outputs:
    """Files to write for one slide."""

    overlay: Path
    mask: Path | None = None
    picture: Path | None = None

    def all(self) -> list[Path]:
        """Every file that is asked for."""
        return [path for path in (self.overlay, self.mask, self.picture) if path is not None]


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


def output_paths(
    slides: Sequence[str], out: Path, *, mask: Path | None = None, picture: Path | None = None
) -> dict[str, Outputs]:
    """Which files each slide gets: `out` itself for one slide, `<slide>.geojson` in the folder `out` for several.

    Raises:
        OverlayError: If several slides would share a file, or a name has an ending that nobody reads.
    """
    is_file = out.name.lower().endswith(_OVERLAY_ENDINGS)
    if is_file and len(slides) > 1:
        raise OverlayError(f"--out {out}: is one file for {len(slides)} slides; name a folder")
    if not is_file and out.suffix and not out.is_dir():
        raise OverlayError(f"--out {out}: QuPath opens {', '.join(_OVERLAY_ENDINGS)}; name such a file, or a folder")
    if (mask is not None or picture is not None) and len(slides) > 1:
        raise OverlayError("--mask and --overlay name one file each; give one slide at a time")
    if is_file:
        return {slides[0]: Outputs(out, mask, picture)}
    targets: dict[str, Outputs] = {}
    for slide in slides:
        overlay = out / f"{Path(slide).stem}.geojson"
        if any(overlay == other.overlay for other in targets.values()):
            raise OverlayError(
                f"{slide}: another slide of the call has the name {Path(slide).stem}; give one at a time"
            )
        targets[slide] = Outputs(overlay, mask, picture)
    return targets


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

        Raises:
            SlideError: If the slide cannot be read.
            OverlayError: If a file cannot be written.
        """
        if all(path.exists() for path in outputs.all()) and not overwrite:
            return SegmentSummary(location, str(outputs.overlay), 0, {}, 0, {}, was_finished=True)
        clock = [time.perf_counter()]
        with open_slide(location, mpp=slide_mpp) as slide:
            logger.debug("%s: %.4g um per pixel", slide.location, slide.mpp)  # one without a scale is refused here
            tissue = find_tissue(slide, self._config.tissue)
            if not tissue.mask.any():
                logger.warning("%s: no tissue found; the overlay will be empty", slide.location)
            clock.append(time.perf_counter())
            result = segment_slide(slide, tissue, self._predictor, self._config, progress=self._progress)
            clock.append(time.perf_counter())
            labels = merge_small(result.labels, self._config.min_area_um2 / result.mpp**2)
            frame = _frame(slide, result, self._config.origin)
            self._write_images(slide, tissue, result, labels, frame, outputs)
            n_regions = self._write_overlay(slide, result, labels, frame, outputs.overlay)
            clock.append(time.perf_counter())
        stages = dict(zip(("tissue", "network", "overlay"), np.diff(clock).tolist(), strict=True))
        return SegmentSummary(
            location, str(outputs.overlay), n_regions, _areas(result, labels), result.n_windows, stages
        )

    def _write_overlay(self, slide: Slide, result: SlideMap, labels: UInt8Array, frame: GridFrame, path: Path) -> int:
        regions = to_level0(trace_regions(labels), frame)
        regions = simplify_regions(regions, self._config.simplify * frame.downsample_x)
        if self._config.merge:
            regions = merge_by_class(regions)
        measurements = measure_regions(
            regions,
            pixel_area_um2=result.mpp**2,
            probabilities=result.probabilities,
            prototypes=result.prototypes,
            class_names=[c.name for c in result.classes],
        )
        features = region_features(regions, result.classes, measurements=measurements)
        metadata = self._provenance(slide, result, frame)
        return write_overlay(path, features, slide=slide.fingerprint, metadata=metadata)

    def _write_images(
        self,
        slide: Slide,
        tissue: TissueMask,
        result: SlideMap,
        labels: UInt8Array,
        frame: GridFrame,
        outputs: Outputs,
    ) -> None:
        if outputs.mask is not None:
            provenance = self._provenance(slide, result, frame)
            write_mask(outputs.mask, labels, result.classes, mpp=result.mpp, frame=frame, metadata=provenance)
        if outputs.picture is not None:
            thumbnail = slide.thumbnail(_PICTURE_SIDE_PX)
            picture = draw_overlay(
                thumbnail,
                labels,
                result.classes,
                mpp=slide.size_px.width * slide.mpp / thumbnail.shape[1],
                tissue=tissue.mask,
                title=slide.name,
            )
            write_picture(outputs.picture, picture)

    def _provenance(self, slide: Slide, result: SlideMap, frame: GridFrame) -> Mapping[str, str]:
        card = self._predictor.card
        resolution = slide.resolution
        return {
            **place_metadata(slide_px=slide.size_px, frame=frame, classes=result.classes),
            "origin": f"bounds({frame.offset_x},{frame.offset_y})" if frame.offset_x or frame.offset_y else "level0",
            "tool": f"wsi-lpd {wsi_lpd.__version__}",
            "slide": slide.name,
            "slide_fingerprint": slide.fingerprint,
            "slide_mpp": f"{slide.mpp:.6g}",
            "slide_mpp_source": "" if resolution is None else resolution.source,
            "model": self._run.name,
            "model_sha256": str(card.weights_sha256),
            "model_mpp": f"{card.mpp:.6g}",
            "map_mpp": f"{result.mpp:.6g}",
            "settings": self._config.model_dump_json(),
        }


def _frame(slide: Slide, result: SlideMap, origin: str) -> GridFrame:
    """Frame of the overlay: less the bounds that QuPath cuts away, unless the slide's own corner is asked for."""
    bounds = slide.bounds
    if origin == "bounds" and bounds is None:
        logger.warning("%s: states no bounds; the overlay is in the frame of the whole slide", slide.location)
    x, y = (0, 0) if bounds is None or origin == "level0" else (bounds.x, bounds.y)
    return GridFrame(result.downsample, result.downsample, offset_x=x, offset_y=y)


def _areas(result: SlideMap, labels: UInt8Array) -> dict[str, float]:
    counts = np.bincount(labels.ravel(), minlength=len(result.classes) + 1)
    return {c.name: float(counts[i + 1]) * result.mpp**2 / 1e6 for i, c in enumerate(result.classes)}
