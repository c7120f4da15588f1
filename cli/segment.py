"""`wsi-lpd segment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import EXIT_FAILED, BarProgress, each, print_failures, print_json, say, user_errors
from ._options import (
    ConfigOption,
    JsonOption,
    OverwriteOption,
    SchedulerFileOption,
    SchedulerOption,
    SetOption,
    SlidesArgument,
    WorkersOption,
    cluster_choice,
    expand_slides,
    slide_mpps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wsi_lpd.config import SegmentConfig
    from wsi_lpd.distributed.cluster import ClusterChoice
    from wsi_lpd.segmentation.outputs import Outputs
    from wsi_lpd.segmentation.summary import SegmentSummary


def segment(
    slides: SlidesArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Overlay to write (.geojson or .geojson.gz), or a folder for several slides."),
    ],
    model: Annotated[
        Path | None, typer.Option(help="Run folder; without it $WSI_LPD_MODEL, then the newest run in runs/.")
    ] = None,
    slide_mpp: Annotated[
        str | None,
        typer.Option(
            "--slide-mpp",
            "--mpp",
            help="Micrometres per pixel of the slides, where they do not say or are wrong: a number, or a CSV file "
            "with the columns slide,mpp.",
        ),
    ] = None,
    overlap: Annotated[float | None, typer.Option(help="Share of a window that its neighbour covers too.")] = None,
    gate: Annotated[
        str | None, typer.Option(help="auto (predicted, but none for a decoder), predicted or none.")
    ] = None,
    simplify: Annotated[
        float | None, typer.Option(help="Tolerance of the outlines in label-map pixels; 0 keeps pixel edges.")
    ] = None,
    max_vertices: Annotated[
        int | None, typer.Option(help="Coarser outlines until the overlay has no more vertices.")
    ] = None,
    min_area: Annotated[
        float | None, typer.Option("--min-area", help="Smaller regions (in um2) take the label around them.")
    ] = None,
    min_hole: Annotated[
        float | None, typer.Option("--min-hole", help="Smaller holes (in um2) are filled; else by --min-area.")
    ] = None,
    merge: Annotated[
        bool | None, typer.Option("--merge/--split", help="One MultiPolygon per class, or one region per piece.")
    ] = None,
    origin: Annotated[str | None, typer.Option(help="Frame of the overlay: auto, level0 or bounds.")] = None,
    tissue_mask: Annotated[
        Path | None, typer.Option(help="Image or QuPath GeoJSON of the tissue, in place of the detection.")
    ] = None,
    allow_upsampling: Annotated[
        bool | None, typer.Option("--allow-upsampling", help="Take a slide coarser than the model by enlarging it.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Write the label map here too (.ome.tif).")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Write a picture of the overlay here too (.png).")] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    scheduler_file: SchedulerFileOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn slides into tissue maps for QuPath. No label is asked for."""
    with user_errors():
        from wsi_lpd.config import load_config, updated
        from wsi_lpd.segmentation.outputs import output_paths

        resolved = updated(
            load_config(config, settings if settings is not None else ()),
            {
                "segment.overlap": overlap,
                "segment.gate": gate,
                "segment.simplify": simplify,
                "segment.max_vertices": max_vertices,
                "segment.min_area_um2": min_area,
                "segment.min_hole_um2": min_hole,
                "segment.merge": merge,
                "segment.origin": origin,
                "segment.tissue.mask": tissue_mask,
                "segment.allow_upsampling": allow_upsampling,
            },
        ).segment
        found = expand_slides(slides)
        mpps = slide_mpps(slide_mpp, found)
        targets = output_paths(found, out, mask=mask, picture=overlay)
        cluster = cluster_choice(workers, scheduler, scheduler_file)
        summaries: list[dict[str, object]] = []

        def report(summary: SegmentSummary) -> None:
            say(summary.text())
            summaries.append(summary.as_dict())

        if cluster is None:
            from wsi_lpd.segmentation.job import SegmentJob

            job = SegmentJob.prepare(model, resolved, device=device, progress=BarProgress())
            failures = each(
                found,
                str,
                lambda slide: report(job.run(slide, targets[slide], slide_mpp=mpps.get(slide), overwrite=overwrite)),
            )
        else:
            ended = _segmented_elsewhere(
                cluster, model, resolved, found, mpps, targets, report, device=device, overwrite=overwrite
            )
            failures = print_failures(ended, len(found))
        if as_json:
            print_json({"slides": summaries, "failed": [{"slide": s, "error": e} for s, e in failures]})
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _segmented_elsewhere(
    cluster: ClusterChoice,
    model: Path | None,
    config: SegmentConfig,
    slides: list[str],
    mpps: dict[str, float],
    targets: dict[str, Outputs],
    report: Callable[[SegmentSummary], None],
    *,
    device: str,
    overwrite: bool,
) -> Iterator[tuple[str, str | None]]:
    """(slide, error or None) of each slide as it ends on the cluster."""
    from wsi_lpd.distributed.slides import SlideItem
    from wsi_lpd.models.saved.runs import find_run
    from wsi_lpd.segmentation.cluster import SegmentTask, segment_slides

    task = SegmentTask(find_run(model).absolute(), config, device, overwrite)
    items = [SlideItem(slide, mpps.get(slide)) for slide in slides]
    for outcome in segment_slides(cluster, task, items, targets, n_gpus=_n_gpus_to_share(cluster, device)):
        if outcome.result is not None:
            report(outcome.result)
        yield outcome.item.location, outcome.error


def _n_gpus_to_share(cluster: ClusterChoice, device: str) -> int:
    """GPUs for the workers that are started here; others have theirs, and this process needs no torch."""
    if cluster.workers is None:
        return 0
    from wsi_lpd.models.device import n_gpus

    return n_gpus(device)
