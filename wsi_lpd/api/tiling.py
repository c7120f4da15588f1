"""`tile` as a function: slides to patches, and the label file to fill in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_lpd.api.batch import (
    Ended,
    OnError,
    Tell,
    collect,
    each,
    failures_json,
    own_errors,
    raise_failures,
    silent,
)
from wsi_lpd.api.options import PathLike, Settings, class_names, cluster_choice, configuration, one_of, optional_path
from wsi_lpd.api.slides import SlideMpp, listed_slides, slide_mpps
from wsi_lpd.api.texts import duration, size
from wsi_lpd.errors import OptionError, WsiLpdError
from wsi_lpd.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wsi_lpd.api.slides import Slides
    from wsi_lpd.config import TileConfig
    from wsi_lpd.distributed.cluster import ClusterChoice
    from wsi_lpd.labels.patches_csv import CsvReport
    from wsi_lpd.tiling.forecast import Forecast
    from wsi_lpd.tiling.job import TileJob
    from wsi_lpd.tiling.tiler import TilingReport


@dataclass(frozen=True)
class TileResult:
    """What `tile` has written, or with `dry_run` would write.

    Attributes:
        labels: The label file, `patches.csv`; None where no slide was tiled.
        table: What became of the label file: rows, kept labels, class columns.
        reports: Store, number of patches, status and seconds of each slide, by its location.
        forecasts: Patches, bytes and seconds to expect of each slide; only with `dry_run`.
        failed: The error of each slide that failed, by its location.
        config: The settings that were used.
    """

    labels: Path | None
    table: CsvReport | None
    reports: dict[str, TilingReport]
    forecasts: tuple[Forecast, ...]
    failed: dict[str, WsiLpdError]
    config: TileConfig
    dry_run: bool = False

    @property
    def stores(self) -> list[Path]:
        """The patch stores, in the order in which they were finished."""
        return [report.path for report in self.reports.values()]

    @property
    def n_patches(self) -> int:
        """Patches of all slides."""
        return sum(report.n_patches for report in self.reports.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `wsi-lpd tile --json` prints them."""
        shared = {"tile": self.config.model_dump(mode="json"), "failed": failures_json(self.failed)}
        if self.dry_run:
            return {"forecast": [asdict(seen) for seen in self.forecasts], **shared}
        slides = [{**asdict(r), "path": str(r.path), "slide": slide} for slide, r in self.reports.items()]
        labels = None if self.table is None else {**asdict(self.table), "path": str(self.labels)}
        return {"slides": slides, "labels": labels, **shared}


@dataclass
class _Call:
    """One call of `tile` under way."""

    job: TileJob
    slides: list[str]
    mpps: dict[str, float]
    tell: Tell
    progress: Progress

    def tiled_here(self, done: Callable[[str, TilingReport], None]) -> Ended:
        def work(slide: str) -> None:
            done(slide, self.job.run(slide, slide_mpp=self.mpps.get(slide), progress=self.progress))

        return each(self.slides, work)

    def tiled_on(self, cluster: ClusterChoice, done: Callable[[str, TilingReport], None]) -> Ended:
        from wsi_lpd.distributed.slides import SlideItem
        from wsi_lpd.tiling.cluster import tile_slides

        items = []
        for slide in self.slides:
            try:
                self.job.claim(slide)
                items.append(SlideItem(slide, self.mpps.get(slide)))
            except WsiLpdError as err:
                yield slide, err
        for outcome in tile_slides(cluster, self.job.task, items):
            if outcome.result is not None:
                self.job.take(outcome.result)
                done(outcome.item.location, outcome.result.report)
            yield outcome.item.location, None if outcome.error is None else WsiLpdError(outcome.error)

    def forecast(self) -> tuple[list[Forecast], dict[str, WsiLpdError]]:
        forecasts: list[Forecast] = []

        def work(slide: str) -> None:
            self.job.claim(slide)
            seen = self.job.task.forecast(slide, slide_mpp=self.mpps.get(slide))
            self.tell(f"{seen.slide}: {_expected(seen.n_patches, seen.n_bytes, seen.seconds)}")
            forecasts.append(seen)

        failed = collect(each(self.slides, work), len(self.slides), self.tell)
        if len(self.slides) > 1:
            sums = (sum(getattr(f, name) for f in forecasts) for name in ("n_patches", "n_bytes", "seconds"))
            self.tell(f"total: {_expected(*sums)}")
        return forecasts, failed


def tile(
    slides: Slides,
    out: PathLike = ".",
    *,
    mpp: float | None = None,
    patch_size: int | None = None,
    stride: int | None = None,
    min_tissue: float | None = None,
    tissue_mask: PathLike | None = None,
    classes: str | Sequence[str] | None = None,
    annotations: PathLike | None = None,
    annotations_complete: bool = False,
    origin: str = "auto",
    slide_mpp: SlideMpp = None,
    threads: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    scheduler_file: PathLike | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    config: PathLike | None = None,
    settings: Settings = (),
    on_error: OnError = "raise",
    progress: Progress = SILENT,
    tell: Tell = silent,
) -> TileResult:
    """Cuts the tissue of slides into patches: `<slide>.zarr`, a preview, and `patches.csv` to label them in.

    Calling it again resumes unfinished slides, leaves finished ones alone and keeps the labels in `patches.csv`.

    Args:
        slides: Path, URL or open slide; a folder; a list (.txt, .csv); or several of these.
        out: Folder for stores, previews and `patches.csv`.
        mpp: Scale of the patches in micrometres per pixel; None = from the configuration.
        patch_size: Side of a patch in pixels at `mpp`; None = from the configuration.
        stride: Step between patches in pixels at `mpp`; None = from the configuration.
        min_tissue: Least tissue fraction of a patch, 0 to 1; None = from the configuration.
        tissue_mask: Image or QuPath GeoJSON of the tissue, instead of detection.
        classes: Class columns of `patches.csv`; None = those of the annotations.
        annotations: QuPath GeoJSON that labels the patches: a file, a folder of `<slide>.geojson`, or a pattern.
        annotations_complete: Every area of every class is annotated, so a class that is not drawn is absent.
        origin: Frame of the annotations: `auto`, `level0` or `bounds`.
        slide_mpp: Micrometres per pixel of the slides' level 0, where the files state none or wrong ones.
        threads: Reading threads of each process; None = the cores shared out, at most 8 each.
        workers: Processes of this machine that share the slides; scripts that set it need a `__main__` guard.
        scheduler: Address of a running Dask scheduler.
        scheduler_file: File that a running Dask scheduler has written.
        overwrite: Replace finished stores.
        dry_run: Only predict patches, bytes and time from a few reads; write nothing.
        config: A configuration file.
        settings: Any other configuration values, `["tile.allow_upsampling=true"]` or `{"tile.patch_px": 64}`.
        on_error: `raise` raises once all slides are done; `collect` leaves errors in `failed`.
        progress: Told of every unit of work.
        tell: Takes each line that the command prints.

    Returns:
        What was written.

    Raises:
        OptionError: If options contradict each other.
        ConfigError: If a setting is wrong.
        SlideError, StoreError, LabelError, FileError: If the only slide, its store or its labels cannot be used.
        BatchError: If some of several slides failed; the others are done.
    """
    from wsi_lpd.tiling.job import TileJob
    from wsi_lpd.tiling.slide_task import LabelSource, SlideTask

    names = class_names(classes)
    one_of("--origin", origin, ("auto", "level0", "bounds"))
    cluster = cluster_choice(workers, scheduler, scheduler_file)
    if cluster is not None and dry_run:
        raise OptionError("--dry-run reads the slides on this machine; leave out --workers and --scheduler")
    if cluster is not None and threads is None:
        threads = cluster.threads_each()
    chosen = {
        "tile.mpp": mpp,
        "tile.patch_px": patch_size,
        "tile.stride_px": stride,
        "tile.min_tissue": min_tissue,
        "tile.tissue.mask": optional_path(tissue_mask),
    }
    resolved = configuration(config, settings, chosen).tile
    with own_errors():
        found = listed_slides(slides)
        labels = LabelSource(names, optional_path(annotations), annotations_complete, origin)
        task = SlideTask(Path(out), resolved, len(found), labels, threads, overwrite)
        call = _Call(TileJob(task), found, slide_mpps(slide_mpp, found, slides), tell, progress)
        result = _forecast(call) if dry_run else _tiled(call, cluster)
    if on_error == "raise":
        raise_failures(result.failed, len(found), result)
    return result


def _forecast(call: _Call) -> TileResult:
    forecasts, failed = call.forecast()
    return TileResult(None, None, {}, tuple(forecasts), failed, call.job.task.config, dry_run=True)


def _tiled(call: _Call, cluster: ClusterChoice | None) -> TileResult:
    reports: dict[str, TilingReport] = {}

    def done(slide: str, report: TilingReport) -> None:
        reports[slide] = report
        call.tell(_line(report))

    ended = call.tiled_here(done) if cluster is None else call.tiled_on(cluster, done)
    failed = collect(ended, len(call.slides), call.tell)
    table, path = call.job.finish(), call.job.task.csv_path
    if table is not None:
        state = f"{table.n_rows} patches" if table.changed else "already up to date"
        call.tell(f"{path}: {state}, {_columns(table.classes)}")
    return TileResult(None if table is None else path, table, reports, (), failed, call.job.task.config)


def _line(report: TilingReport) -> str:
    if report.status == "unchanged":
        return f"{report.path}: already finished ({report.n_patches} patches); --overwrite starts over"
    rate = report.n_patches / report.seconds if report.seconds else 0.0
    resumed = " (resumed)" if report.status == "resumed" else ""
    return f"{report.path}: {report.n_patches} patches in {duration(report.seconds)}, {rate:.0f}/s{resumed}"


def _columns(classes: tuple[str, ...]) -> str:
    if not classes:
        return "no class columns yet: run again with --classes A,B,C to add them, then fill in 1 or 0"
    return f"classes {', '.join(classes)}"


def _expected(n_patches: float, n_bytes: float, seconds: float) -> str:
    return f"{n_patches} patches, {size(n_bytes)}, about {duration(seconds)}"
