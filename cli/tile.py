"""`wsi-lpd tile`: slides to patches, and the label file to fill in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_lpd.errors import WsiLpdError
from wsi_lpd.memory import share_one_heap

from ._console import EXIT_FAILED, BarProgress, each, expect_no_matrices, print_failures, print_json, say, user_errors
from ._options import (
    ConfigOption,
    JsonOption,
    OverwriteOption,
    SchedulerFileOption,
    SchedulerOption,
    SetOption,
    SlidesArgument,
    WorkersOption,
    class_names,
    cluster_choice,
    expand_slides,
    slide_mpps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wsi_lpd.config import TileConfig
    from wsi_lpd.distributed.cluster import ClusterChoice
    from wsi_lpd.tiling.forecast import Forecast
    from wsi_lpd.tiling.job import TileJob
    from wsi_lpd.tiling.tiler import TilingReport


def tile(
    slides: SlidesArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for <slide>.zarr and patches.csv.")] = Path(),
    mpp: Annotated[
        float | None, typer.Option("--mpp", help="Scale of the patches in micrometres per pixel; 0.5 by default.")
    ] = None,
    patch_size: Annotated[
        int | None, typer.Option("--patch-size", help="Side of a patch in pixels; 224 by default.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", help="Step between patches in pixels; by default they touch.")
    ] = None,
    min_tissue: Annotated[
        float | None, typer.Option("--min-tissue", help="Least tissue fraction of a patch, 0 to 1; 0.5 by default.")
    ] = None,
    tissue_mask: Annotated[
        Path | None, typer.Option("--tissue-mask", help="Image or QuPath GeoJSON of the tissue, in place of detection.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Class columns of patches.csv, such as Tumor,Stroma,Necrosis.")
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            help="QuPath GeoJSON that labels the patches: a file, a folder with <slide>.geojson, or a quoted "
            "pattern such as 'truth/*.geojson'.",
        ),
    ] = None,
    complete: Annotated[
        bool,
        typer.Option("--annotations-complete", help="Whatever is not drawn is not there: no patch stays unlabelled."),
    ] = False,
    origin: Annotated[str, typer.Option("--origin", help="Frame of the annotations: auto, level0 or bounds.")] = "auto",
    slide_mpp: Annotated[
        str | None,
        typer.Option(
            "--slide-mpp",
            help="Micrometres per pixel of the slides themselves, where they do not say or are wrong: a number, or a "
            "CSV file with the columns slide,mpp.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            help="Reading threads of a process; by default the cores are shared out, at most 8 each.",
        ),
    ] = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    scheduler_file: SchedulerFileOption = None,
    overwrite: OverwriteOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Predict patches, bytes and time from a few reads; write nothing.")
    ] = False,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut the tissue of SLIDE into patches: <slide>.zarr, a preview, and patches.csv to label them in.

    Running it again goes on where it was stopped; what is finished is left alone, and labels in patches.csv are kept.
    """
    names = class_names(classes)
    if origin not in ("auto", "level0", "bounds"):
        raise typer.BadParameter(f"--origin {origin}: expected auto, level0 or bounds")
    expect_no_matrices()
    share_one_heap()
    with user_errors():
        from wsi_lpd.config import load_config, updated
        from wsi_lpd.tiling.job import TileJob
        from wsi_lpd.tiling.slide_task import LabelSource, SlideTask

        cluster = cluster_choice(workers, scheduler, scheduler_file)
        if cluster is not None and dry_run:
            raise typer.BadParameter("--dry-run looks at the slides here; leave --workers and --scheduler out")
        if cluster is not None and threads is None:
            threads = cluster.threads_each()

        resolved = updated(
            load_config(config, settings if settings is not None else ()),
            {
                "tile.mpp": mpp,
                "tile.patch_px": patch_size,
                "tile.stride_px": stride,
                "tile.min_tissue": min_tissue,
                "tile.tissue.mask": tissue_mask,
            },
        ).tile
        found = expand_slides(slides)
        mpps = slide_mpps(slide_mpp, found)
        task = SlideTask(
            out,
            resolved,
            n_slides=len(found),
            labels=LabelSource(names, annotations, complete, origin),
            threads=threads,
            overwrite=overwrite,
        )
        job = TileJob(task)
        failures = (
            _forecast(job, found, mpps, resolved, as_json)
            if dry_run
            else _tile(job, found, mpps, resolved, as_json, cluster)
        )
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _tile(
    job: TileJob,
    slides: list[str],
    mpps: dict[str, float],
    config: TileConfig,
    as_json: bool,
    cluster: ClusterChoice | None,
) -> list[tuple[str, str]]:
    reports: list[dict[str, Any]] = []

    def report_slide(slide: str, report: TilingReport) -> None:
        say(_told(report))
        reports.append({**asdict(report), "path": str(report.path), "slide": slide})

    if cluster is None:
        progress = BarProgress()
        failures = each(
            slides, str, lambda slide: report_slide(slide, job.run(slide, slide_mpp=mpps.get(slide), progress=progress))
        )
    else:
        failures = print_failures(_tiled_elsewhere(job, slides, mpps, cluster, report_slide), len(slides))
    table = job.finish()
    if table is not None:
        what = "is up to date" if not table.changed else f"holds {table.n_rows} patches"
        say(f"{job.task.csv_path}: {what}, {_columns(table.classes)}")
    if as_json:
        csv = None if table is None else {**asdict(table), "path": str(job.task.csv_path)}
        print_json(
            {"slides": reports, "labels": csv, "tile": config.model_dump(mode="json"), "failed": _listed(failures)}
        )
    return failures


def _tiled_elsewhere(
    job: TileJob,
    slides: list[str],
    mpps: dict[str, float],
    cluster: ClusterChoice,
    report_slide: Callable[[str, TilingReport], None],
) -> Iterator[tuple[str, str | None]]:
    """(slide, error or None) of each slide as it ends on the cluster."""
    from wsi_lpd.distributed.slides import SlideItem
    from wsi_lpd.tiling.cluster import tile_slides

    items = []
    for slide in slides:
        try:
            job.claim(slide)
            items.append(SlideItem(slide, mpps.get(slide)))
        except WsiLpdError as err:
            yield slide, str(err)
    for outcome in tile_slides(cluster, job.task, items):
        if outcome.result is not None:
            job.take(outcome.result)
            report_slide(outcome.item.location, outcome.result.report)
        yield outcome.item.location, outcome.error


def _forecast(
    job: TileJob, slides: list[str], mpps: dict[str, float], config: TileConfig, as_json: bool
) -> list[tuple[str, str]]:
    forecasts: list[Forecast] = []

    def work(slide: str) -> None:
        job.claim(slide)
        seen = job.task.forecast(slide, slide_mpp=mpps.get(slide))
        say(f"{seen.slide}: {seen.n_patches} patches, {_size(seen.n_bytes)}, about {_duration(seen.seconds)}")
        forecasts.append(seen)

    failures = each(slides, str, work)
    if len(slides) > 1:
        patches, n_bytes = sum(f.n_patches for f in forecasts), sum(f.n_bytes for f in forecasts)
        say(f"all: {patches} patches, {_size(n_bytes)}, about {_duration(sum(f.seconds for f in forecasts))}")
    if as_json:
        summary = {"forecast": [asdict(seen) for seen in forecasts], "tile": config.model_dump(mode="json")}
        print_json({**summary, "failed": _listed(failures)})
    return failures


def _told(report: TilingReport) -> str:
    if report.status == "unchanged":
        return f"{report.path}: is finished already ({report.n_patches} patches); --overwrite makes it anew"
    rate = report.n_patches / report.seconds if report.seconds else 0.0
    went_on = " (went on with an unfinished one)" if report.status == "resumed" else ""
    return f"{report.path}: {report.n_patches} patches in {_duration(report.seconds)}, {rate:.0f}/s{went_on}"


def _columns(classes: tuple[str, ...]) -> str:
    if not classes:
        return "without class columns: run again with --classes A,B,C to add them, then fill in 1 or 0"
    return f"classes {', '.join(classes)}"


def _listed(failures: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"slide": name, "error": message} for name, message in failures]


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
