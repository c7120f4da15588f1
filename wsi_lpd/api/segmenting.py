"""`segment` as a function: slides and a model to tissue maps for QuPath."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_lpd.api.batch import Ended, OnError, Tell, collect, each, failures_json, own_errors, raise_failures, silent
from wsi_lpd.api.options import PathLike, Settings, cluster_choice, configuration, optional_path
from wsi_lpd.api.slides import SlideMpp, listed_slides, slide_mpps
from wsi_lpd.errors import WsiLpdError
from wsi_lpd.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsi_lpd.api.model import Model
    from wsi_lpd.api.slides import Slides
    from wsi_lpd.config import SegmentConfig
    from wsi_lpd.distributed.cluster import ClusterChoice
    from wsi_lpd.segmentation.job import SegmentJob
    from wsi_lpd.segmentation.outputs import Outputs
    from wsi_lpd.segmentation.summary import SegmentSummary


@dataclass(frozen=True)
class SegmentResult:
    """What `segment` has written.

    Attributes:
        outputs: The files of each slide that is done, by its location: overlay, mask, picture.
        summaries: Regions, areas in mm2 and seconds of each slide, by its location.
        failed: The error of each slide that failed, by its location.
    """

    outputs: dict[str, Outputs]
    summaries: dict[str, SegmentSummary]
    failed: dict[str, WsiLpdError]

    @property
    def overlays(self) -> list[Path]:
        """The overlays, in the order in which they were finished."""
        return [output.overlay for output in self.outputs.values()]

    @property
    def overlay(self) -> Path:
        """The overlay of the only slide.

        Raises:
            ValueError: If there is not exactly one.
        """
        (path,) = self.overlays
        return path

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `wsi-lpd segment --json` prints them."""
        slides = [summary.as_dict() for summary in self.summaries.values()]
        return {"slides": slides, "failed": failures_json(self.failed)}


@dataclass
class _Call:
    """One call of `segment` under way."""

    model: Path | Model | None
    config: SegmentConfig
    slides: list[str]
    mpps: dict[str, float]
    targets: dict[str, Outputs]
    device: str
    overwrite: bool
    progress: Progress

    def here(self, done: Callable[[str, SegmentSummary], None]) -> Ended:
        job = self._job()

        def work(slide: str) -> None:
            mpp = self.mpps.get(slide)
            done(slide, job.run(slide, self.targets[slide], slide_mpp=mpp, overwrite=self.overwrite))

        return each(self.slides, work)

    def on(self, cluster: ClusterChoice, done: Callable[[str, SegmentSummary], None]) -> Ended:
        from wsi_lpd.distributed.slides import SlideItem
        from wsi_lpd.segmentation.cluster import SegmentTask, segment_slides

        task = SegmentTask(self._run().absolute(), self.config, self.device, self.overwrite)
        items = [SlideItem(slide, self.mpps.get(slide)) for slide in self.slides]
        n_gpus = _n_gpus_to_share(cluster, self.device)
        for outcome in segment_slides(cluster, task, items, self.targets, n_gpus=n_gpus):
            if outcome.result is not None:
                done(outcome.item.location, outcome.result)
            yield outcome.item.location, None if outcome.error is None else WsiLpdError(outcome.error)

    def _run(self) -> Path:
        from wsi_lpd.models.saved.runs import find_run

        return find_run(self.model) if self.model is None or isinstance(self.model, Path) else self.model.run

    def _job(self) -> SegmentJob:
        from wsi_lpd.segmentation.job import SegmentJob

        if self.model is None or isinstance(self.model, Path):
            return SegmentJob.prepare(self.model, self.config, device=self.device, progress=self.progress)
        self.model.check_device(self.device)
        return SegmentJob(self.model.predictor, self.model.run, self.config, progress=self.progress)


def segment(
    slides: Slides,
    out: PathLike,
    *,
    model: PathLike | Model | None = None,
    slide_mpp: SlideMpp = None,
    overlap: float | None = None,
    gate: str | None = None,
    simplify: float | None = None,
    max_vertices: int | None = None,
    min_area: float | None = None,
    min_hole: float | None = None,
    merge: bool | None = None,
    origin: str | None = None,
    tissue_mask: PathLike | None = None,
    allow_upsampling: bool | None = None,
    mask: PathLike | None = None,
    picture: PathLike | None = None,
    config: PathLike | None = None,
    settings: Settings = (),
    device: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    scheduler_file: PathLike | None = None,
    overwrite: bool = False,
    on_error: OnError = "raise",
    progress: Progress = SILENT,
    tell: Tell = silent,
) -> SegmentResult:
    """Turns slides into tissue maps that QuPath loads. It takes no label.

    Calling it again resumes an unfinished slide and leaves finished ones alone. Where an option is None, the
    configuration decides.

    Args:
        slides: Path, URL or open slide; a folder; a list (.txt, .csv); or several of these.
        out: The overlay to write (.geojson, .geojson.gz), or a folder for `<slide>.geojson`.
        model: A run folder, or what `load_model` gives; None = `$WSI_LPD_MODEL`, then the newest run in `runs/`.
        slide_mpp: Micrometres per pixel of the slides' level 0, where the files state none or wrong ones.
        overlap: Share of a window that its neighbour covers too, 0 to below 1.
        gate: Weigh classes by whether they occur nearby: `auto`, `predicted` or `none`.
        simplify: Tolerance of the outlines in label-map pixels; 0 follows pixel edges.
        max_vertices: Raise the tolerance until the overlay has at most this many vertices.
        min_area: Merge smaller regions, in um2, into their surroundings.
        min_hole: Fill smaller holes, in um2.
        merge: One MultiPolygon per class instead of one region per connected piece.
        origin: Frame of the overlay: `auto`, `level0` or `bounds`.
        tissue_mask: Image or QuPath GeoJSON of the tissue, instead of detection.
        allow_upsampling: Accept slides that are coarser than the model, by enlarging them.
        mask: Also write the label map here (.ome.tif); for one slide.
        picture: Also write a picture of the overlay here (.png); for one slide.
        config: A configuration file.
        settings: Any other configuration values, `["segment.views=8"]` or `{"segment.views": 8}`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; a loaded model is on one already.
        workers: Processes of this machine that share the slides; scripts that set it need a `__main__` guard.
        scheduler: Address of a running Dask scheduler.
        scheduler_file: File that a running Dask scheduler has written.
        overwrite: Start over, whatever is there.
        on_error: `raise` raises once all slides are done; `collect` leaves errors in `failed`.
        progress: Told of every unit of work.
        tell: Takes each line that the command prints.

    Returns:
        What was written. Coordinates of overlays are level-0 pixels as QuPath shows the slide.

    Raises:
        OptionError: If options contradict each other.
        ConfigError: If a setting is wrong.
        ModelError: If there is no such run or device.
        SlideError, OverlayError, BusyError, FileError: If the only slide cannot be read, or its files not written.
        BatchError: If some of several slides failed; the others are done.
    """
    from wsi_lpd.segmentation.outputs import output_paths

    chosen = {
        "segment.overlap": overlap,
        "segment.gate": gate,
        "segment.simplify": simplify,
        "segment.max_vertices": max_vertices,
        "segment.min_area_um2": min_area,
        "segment.min_hole_um2": min_hole,
        "segment.merge": merge,
        "segment.origin": origin,
        "segment.tissue.mask": optional_path(tissue_mask),
        "segment.allow_upsampling": allow_upsampling,
    }
    resolved = configuration(config, settings, chosen).segment
    cluster = cluster_choice(workers, scheduler, scheduler_file)
    with own_errors():
        found = listed_slides(slides)
        targets = output_paths(found, Path(out), mask=optional_path(mask), picture=optional_path(picture))
        which = Path(model) if isinstance(model, str | os.PathLike) else model
        mpps = slide_mpps(slide_mpp, found, slides)
        result = _segmented(_Call(which, resolved, found, mpps, targets, device, overwrite, progress), cluster, tell)
    if on_error == "raise":
        raise_failures(result.failed, len(found), result)
    return result


def _segmented(call: _Call, cluster: ClusterChoice | None, tell: Tell) -> SegmentResult:
    summaries: dict[str, SegmentSummary] = {}

    def done(slide: str, summary: SegmentSummary) -> None:
        summaries[slide] = summary
        tell(summary.text())

    ended = call.here(done) if cluster is None else call.on(cluster, done)
    failed = collect(ended, len(call.slides), tell)
    return SegmentResult({slide: call.targets[slide] for slide in summaries}, summaries, failed)


def _n_gpus_to_share(cluster: ClusterChoice, device: str) -> int:
    """GPUs for the workers that are started here; those of a running cluster have their own."""
    if cluster.workers is None:
        return 0
    from wsi_lpd.models.device import n_gpus

    return n_gpus(device)
