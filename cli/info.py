"""`wsi-lpd info`: what a slide holds, and how the other commands would read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_lpd.api.batch import failures_json

from ._console import each, expect_no_matrices, fail_if, print_json, user_errors
from ._options import JsonOption, optional

if TYPE_CHECKING:
    from wsi_lpd.slide import Slide


SlidesArgument = Annotated[list[str], typer.Argument(metavar="SLIDE", help="Whole-slide images, plain images or URLs.")]
SlideMppOption = Annotated[
    float | None,
    optional(
        "--slide-mpp",
        metavar="MPP",
        help="Micrometres per pixel of the slides, if the files state none or a wrong value.",
        default="what each slide states",
    ),
]


def info(slides: SlidesArgument, slide_mpp: SlideMppOption = None, as_json: JsonOption = False) -> None:
    """Show size, levels, resolution and tissue of slides.

    Also the reader, the source of the resolution, and warnings.
    """
    expect_no_matrices()
    found: list[dict[str, Any]] = []

    def work(path: str) -> None:
        description = _description(path, slide_mpp)
        found.append(description)
        if not as_json:
            typer.echo(_text(description))

    with user_errors():
        failed = each(slides, str, work)
    if as_json:
        print_json({"slides": found, "failed": failures_json(failed)})
    fail_if(failed)


def _description(path: str, mpp: float | None) -> dict[str, Any]:
    from wsi_lpd.slide import open_slide

    with open_slide(path, mpp=mpp) as slide:
        resolution = slide.resolution
        return {
            "slide": slide.location,
            "name": slide.name,
            "width_px": slide.size_px.width,
            "height_px": slide.size_px.height,
            "levels": [
                {"width_px": level.size_px.width, "height_px": level.size_px.height, "downsample": level.downsample}
                for level in slide.levels
            ],
            "vendor": slide.vendor,
            "reader": slide.reader,
            "reader_reason": slide.reader_reason,
            "mpp": None if resolution is None else resolution.mpp,
            "mpp_source": None if resolution is None else resolution.source,
            "mpp_candidates": [
                {"source": c.source, "mpp_x": c.mpp_x, "mpp_y": c.mpp_y, "verdict": c.verdict}
                for c in slide.mpp_candidates
            ],
            "objective_power": slide.objective_power,
            "bounds": None if slide.bounds is None else list(slide.bounds),
            "background": list(slide.background),
            "associated_images": list(slide.associated),
            "fingerprint": slide.fingerprint,
            "warnings": [] if resolution is None else list(resolution.warnings),
            **_tissue(slide),
        }


def _tissue(slide: Slide) -> dict[str, Any]:
    """The share of tissue; a slide that is not bright-field is reported, not refused: it can be read."""
    from wsi_lpd.config import TissueConfig
    from wsi_lpd.slide import NotBrightFieldError, find_tissue

    try:
        tissue = find_tissue(slide, TissueConfig())
    except NotBrightFieldError:
        return {"bright_field": False, "tissue_share": None, "tissue_mm2": None}
    mm2 = None if slide.resolution is None else tissue.area_px * (slide.resolution.mpp / 1000) ** 2
    return {"bright_field": True, "tissue_share": tissue.share, "tissue_mm2": mm2}


def _text(d: dict[str, Any]) -> str:
    lines = [d["slide"], *(f"  {key:<12}{text}" for key, text in _rows(d))]
    return "\n".join([*lines, *(f"  warning     {text}" for text in d["warnings"])])


def _rows(d: dict[str, Any]) -> list[tuple[str, str]]:
    levels = ", ".join(f"{x['width_px']}x{x['height_px']} (/{x['downsample']:.4g})" for x in d["levels"])
    candidates = d["mpp_candidates"]
    # A single statement that is used is in the row above.
    statements = [] if len(candidates) == 1 and d["mpp"] is not None else candidates
    rows = [
        ("size", f"{d['width_px']} x {d['height_px']} px{_extent(d)}"),
        ("levels", f"{len(d['levels'])}: {levels}"),
        ("vendor", d["vendor"] or "not stated"),
        ("reader", f"{d['reader']} ({d['reader_reason']})"),
        ("resolution", _resolution(d)),
        *(("", f"{c['source']}: {_both(c)} um/px, {c['verdict']}") for c in statements),
        (
            "objective",
            "not stated" if d["objective_power"] is None else f"{d['objective_power']:g}x",
        ),
    ]
    if d["bounds"] is not None:
        x, y, width, height = d["bounds"]
        rows.append(("bounds", f"{width} x {height} px at {x}, {y} (QuPath shows only this part)"))
    if d["associated_images"]:
        rows.append(("images", ", ".join(d["associated_images"])))
    return [*rows, ("tissue", _tissue_text(d))]


def _extent(d: dict[str, Any]) -> str:
    if d["mpp"] is None:
        return ""
    return f" = {d['width_px'] * d['mpp'] / 1000:.3g} x {d['height_px'] * d['mpp'] / 1000:.3g} mm"


def _resolution(d: dict[str, Any]) -> str:
    if d["mpp"] is None:
        power = d["objective_power"]
        hint = "" if power is None else f" (the objective suggests about {10 / power:g})"
        return f"not stated: pass --slide-mpp to tile or segment it{hint}"
    return f"{d['mpp']:.5g} um/px, from {d['mpp_source']}"


def _both(candidate: dict[str, Any]) -> str:
    x, y = f"{candidate['mpp_x']:.5g}", f"{candidate['mpp_y']:.5g}"
    return x if x == y else f"{x} x {y}"


def _tissue_text(d: dict[str, Any]) -> str:
    if not d["bright_field"]:
        return "not searched: bright on dark, such as fluorescence or a label image, not bright-field"
    if d["tissue_share"] == 0:
        return "none found"
    area = "" if d["tissue_mm2"] is None else f", {d['tissue_mm2']:.3g} mm2"
    return f"{d['tissue_share']:.1%} of the slide{area}"
