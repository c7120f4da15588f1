"""`wsi-lpd segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import EXIT_FAILED, BarProgress, each, print_json, say, user_errors
from ._options import (
    ConfigOption,
    JsonOption,
    OverwriteOption,
    SetOption,
    SlidesArgument,
    expand_slides,
    slide_mpps,
)


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
    gate: Annotated[str | None, typer.Option(help="predicted or none.")] = None,
    simplify: Annotated[
        float | None, typer.Option(help="Tolerance of the outlines in label-map pixels; 0 keeps pixel edges.")
    ] = None,
    max_vertices: Annotated[
        int | None, typer.Option(help="Coarser outlines until the overlay has no more vertices.")
    ] = None,
    min_area: Annotated[
        float | None, typer.Option("--min-area", help="Smaller regions (in um2) take the label around them.")
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
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn slides into tissue maps for QuPath. No label is asked for."""
    with user_errors():
        from wsi_lpd.config import load_config, updated
        from wsi_lpd.segment.job import SegmentJob
        from wsi_lpd.segment.outputs import output_paths

        resolved = updated(
            load_config(config, settings if settings is not None else ()),
            {
                "segment.overlap": overlap,
                "segment.gate": gate,
                "segment.simplify": simplify,
                "segment.max_vertices": max_vertices,
                "segment.min_area_um2": min_area,
                "segment.merge": merge,
                "segment.origin": origin,
                "segment.tissue.mask": tissue_mask,
                "segment.allow_upsampling": allow_upsampling,
            },
        ).segment
        found = expand_slides(slides)
        mpps = slide_mpps(slide_mpp, found)
        targets = output_paths(found, out, mask=mask, picture=overlay)
        job = SegmentJob.prepare(model, resolved, device=device, progress=BarProgress())
        summaries = []

        def one(slide: str) -> None:
            summary = job.run(slide, targets[slide], slide_mpp=mpps.get(slide), overwrite=overwrite)
            say(summary.text())
            summaries.append(summary.as_dict())

        failures = each(found, str, one)
        if as_json:
            print_json({"slides": summaries, "failed": [{"slide": s, "error": e} for s, e in failures]})
    if failures:
        raise typer.Exit(EXIT_FAILED)
