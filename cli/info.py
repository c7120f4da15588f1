"""`wsi-lpd info`: what is known of a slide, and what the other commands would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._console import EXIT_FAILED, each, expect_no_matrices, print_json, user_errors

if TYPE_CHECKING:
    from wsi_lpd.slide import Slide


def info(
    slides: Annotated[list[str], typer.Argument(metavar="SLIDE...", help="Whole-slide images, plain images or URLs.")],
    mpp: Annotated[
        float | None,
        typer.Option(
            "--slide-mpp", "--mpp", help="Micrometres per pixel, where the file's own word is wrong or missing."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead.")] = False,
) -> None:
    """Show what is in SLIDE: size, levels, reader, resolution and where it comes from, tissue."""
    expect_no_matrices()
    found: list[dict[str, Any]] = []

    def work(path: str) -> None:
        details = _details(path, mpp)
        found.append(details)
        if not as_json:
            typer.echo(_text(details))

    with user_errors():
        failures = each(list(slides), str, work)
    if as_json:
        print_json({"slides": found, "failed": [{"slide": name, "error": message} for name, message in failures]})
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _details(path: str, mpp: float | None) -> dict[str, Any]:
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
            "warnings": list(slide.warnings),
            **_tissue(slide),
        }


def _tissue(slide: Slide) -> dict[str, Any]:
    """The share of tissue; a slide that is not bright-field is told of, not refused: it can be read."""
    from wsi_lpd.config import TissueConfig
    from wsi_lpd.slide import NotBrightFieldError, find_tissue

    try:
        tissue = find_tissue(slide, TissueConfig())
    except NotBrightFieldError:
        return {"bright_field": False, "tissue_share": None, "tissue_mm2": None}
    mm2 = None if slide.resolution is None else tissue.area_px * (slide.resolution.mpp / 1000) ** 2
    return {"bright_field": True, "tissue_share": tissue.share, "tissue_mm2": mm2}


def _text(details: dict[str, Any]) -> str:
    lines = [details["slide"], *(f"  {key:<12}{text}" for key, text in _rows(details))]
    return "\n".join([*lines, *(f"  warning     {text}" for text in details["warnings"])])


def _rows(details: dict[str, Any]) -> list[tuple[str, str]]:
    levels = ", ".join(f"{x['width_px']}x{x['height_px']} (/{x['downsample']:.4g})" for x in details["levels"])
    # One statement that is used would only be said twice.
    statements = [] if len(details["mpp_candidates"]) == 1 and details["mpp"] is not None else details["mpp_candidates"]
    rows = [
        ("size", f"{details['width_px']} x {details['height_px']} px{_extent(details)}"),
        ("levels", f"{len(details['levels'])}: {levels}"),
        ("vendor", details["vendor"] or "not stated"),
        ("reader", f"{details['reader']} ({details['reader_reason']})"),
        ("resolution", _resolution(details)),
        *(("", f"{c['source']}: {_both(c)} um/px, {c['verdict']}") for c in statements),
        ("objective", "not stated" if details["objective_power"] is None else f"{details['objective_power']:g}x"),
    ]
    if details["bounds"] is not None:
        x, y, width, height = details["bounds"]
        rows.append(("bounds", f"{width} x {height} px at {x}, {y} (QuPath shows this part only)"))
    if details["associated_images"]:
        rows.append(("with it", ", ".join(details["associated_images"])))
    return [*rows, ("tissue", _tissue_text(details))]


def _extent(details: dict[str, Any]) -> str:
    if details["mpp"] is None:
        return ""
    return (
        f" = {details['width_px'] * details['mpp'] / 1000:.3g} x {details['height_px'] * details['mpp'] / 1000:.3g} mm"
    )


def _resolution(details: dict[str, Any]) -> str:
    if details["mpp"] is None:
        power = details["objective_power"]
        hint = "" if power is None else f" (its objective suggests about {10 / power:g})"
        return f"not known: pass --slide-mpp to tile and segment it{hint}"
    return f"{details['mpp']:.5g} um/px, from {details['mpp_source']}"


def _both(candidate: dict[str, Any]) -> str:
    x, y = f"{candidate['mpp_x']:.5g}", f"{candidate['mpp_y']:.5g}"
    return x if x == y else f"{x} x {y}"


def _tissue_text(details: dict[str, Any]) -> str:
    if not details["bright_field"]:
        return "not looked for: bright on dark, like fluorescence or a label image, not bright-field"
    if details["tissue_share"] == 0:
        return "none found"
    area = "" if details["tissue_mm2"] is None else f", {details['tissue_mm2']:.3g} mm2"
    return f"{details['tissue_share']:.1%} of the slide{area}"
