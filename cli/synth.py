"""`wsi-lpd synth`: H&E-like slides with exact truth, to try everything on."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_lpd.api.batch import failures_json

from ._console import BarProgress, each, fail_if, print_json, say, user_errors
from ._options import JsonOption, OverwriteOption

if TYPE_CHECKING:
    from wsi_lpd.synthetic import SyntheticSlide
    from wsi_lpd.types import Size


OutOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the slides and their truth.")
]
SizeOption = Annotated[
    str,
    typer.Option("--size", metavar="PX|WxH", help="Size of each slide in pixels, such as 8192 or 8192x6144."),
]
SlidesOption = Annotated[int, typer.Option("--slides", "-n", min=1, metavar="N", help="Number of slides.")]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, metavar="N", help="Seed of the first slide; each further slide takes the next.")
]
SlideMppOption = Annotated[float, typer.Option("--slide-mpp", metavar="MPP", help="Micrometres per pixel.")]
PenOption = Annotated[bool, typer.Option("--pen", help="Add felt-pen marks.")]
GeojsonOption = Annotated[
    bool, typer.Option("--no-geojson", help="Write the truth as a label image only, not as polygons.")
]


def synth(
    out: OutOption,
    size: SizeOption = "8192",
    slides: SlidesOption = 1,
    seed: SeedOption = 0,
    slide_mpp: SlideMppOption = 0.25,
    pen: PenOption = False,
    no_geojson: GeojsonOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make synthetic H&E slides with exact truth.

    Writes synth-<seed>.svs with .truth.tif (label image) and .truth.geojson (for QuPath).
    """
    size_px = _parse_size(size)
    _check_mpp(slide_mpp)
    made: list[dict[str, Any]] = []

    def make(number: int) -> None:
        path = out / f"synth-{number}.svs"
        slide, is_new = _make(path, size_px, number, slide_mpp, pen, not no_geojson, overwrite)
        say(_line(slide, is_new=is_new))
        made.append(_summary(slide, is_new=is_new))

    with user_errors():
        failed = each(range(seed, seed + slides), lambda n: f"synth-{n}.svs", make)
    if as_json:
        print_json({"slides": made, "failed": failures_json(failed)})
    fail_if(failed)


def _make(
    path: Path, size_px: Size, seed: int, mpp: float, pen: bool, geojson: bool, overwrite: bool
) -> tuple[SyntheticSlide, bool]:
    from wsi_lpd.synthetic import find_synthetic_slide, write_synthetic_slide

    if not overwrite:
        found = find_synthetic_slide(path, size_px=size_px, seed=seed, mpp=mpp, pen_marks=pen, geojson=geojson)
        if found is not None:
            return found, False
    slide = write_synthetic_slide(
        path, size_px=size_px, seed=seed, mpp=mpp, pen_marks=pen, geojson=geojson, progress=BarProgress()
    )
    return slide, True


def _line(slide: SyntheticSlide, *, is_new: bool) -> str:
    if not is_new:
        return f"{slide.path}: already finished; --overwrite starts over"
    truth = slide.truth_image.name if slide.truth_geojson is None else f"{slide.truth_image.name}, .geojson"
    polygons = " (no polygons)" if slide.truth_geojson is None else ""
    return f"{slide.path}: {slide.size_px.width} x {slide.size_px.height} px, truth {truth}{polygons}"


def _summary(slide: SyntheticSlide, *, is_new: bool) -> dict[str, Any]:
    values = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(slide).items()}
    return {**values, "size_px": list(slide.size_px), "made": is_new}


def _parse_size(text: str) -> Size:
    from wsi_lpd.synthetic import MIN_SIDE_PX
    from wsi_lpd.types import Size

    match = re.fullmatch(r"\s*(\d{1,7})(?:\s*[xX]\s*(\d{1,7}))?\s*", text)
    if match is None:
        raise typer.BadParameter(f"{text!r}; expected pixels such as 8192 or 8192x6144", param_hint="--size")
    width = int(match[1])
    size_px = Size(width, width if match[2] is None else int(match[2]))
    if min(size_px) < MIN_SIDE_PX:
        raise typer.BadParameter(f"{text!r}; each side must be at least {MIN_SIDE_PX} px", param_hint="--size")
    return size_px


def _check_mpp(mpp: float) -> None:
    from wsi_lpd.synthetic import MAX_MPP, MIN_MPP

    if not MIN_MPP <= mpp <= MAX_MPP:
        raise typer.BadParameter(f"{mpp:g}; expected {MIN_MPP:g} to {MAX_MPP:g} um/px", param_hint="--slide-mpp")
