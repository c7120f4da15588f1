"""Memory of `tile` and `segment` on slides of 25,000 and 100,000 rows, both 100,000 pixels wide."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine.models import random_run
from benchmarks.engine.place import Place
from benchmarks.engine.segment_command import segment_command
from benchmarks.measuring import TOOL, Measured, module_command, run, table

WIDTH, HEIGHTS = 100_000, (25_000, 100_000)
TINY = "regnety_002"
IMPORTS = {
    "tile": "wsi_lpd.tiling.job, wsi_lpd_cli.tile",
    "segment": "wsi_lpd.segmentation.job, wsi_lpd_cli.segment, timm, torch",
}


def big_tables(place: Place) -> list[str]:
    """One table, a run for each row."""
    source = place.slide(size="8192x8192")
    model = random_run(place.out / "models" / TINY, TINY, source)
    bare = {command: _imports(names) for command, names in IMPORTS.items()}
    rows: list[Sequence[object]] = []
    above: dict[tuple[str, int], float] = {}
    for height in HEIGHTS:
        slide = _slide(source, place, height)
        for command, found in (("tile", _tile(slide, place)), ("segment", _segment(slide, model, place))):
            above[command, height] = found.peak_mb - bare[command]
            peak, own = f"{found.peak_mb:.0f}", f"{above[command, height]:.0f}"
            rows.append((command, f"{WIDTH} x {height}", _amount(found), f"{found.wall_s:.0f}", peak, own))
    growth = {command: above[command, HEIGHTS[1]] / above[command, HEIGHTS[0]] for command in IMPORTS}
    ratios = ", ".join(f"{command} {ratio:.2f}" for command, ratio in growth.items())
    columns = ("", "slide, px", "", "seconds", "peak MB", "above the bare imports, MB")
    return [
        f"{table(columns, rows)}\n\nPeak above the bare imports at {HEIGHTS[1]:,} rows / at {HEIGHTS[0]:,}: {ratios}."
    ]


def _amount(found: Measured) -> str:
    (summary,) = found.summary["slides"]
    if "n_windows" in summary:
        return f"{summary['n_windows']} windows, {summary['n_regions']} regions"
    return f"{summary['n_patches']} patches"


def _slide(source: Path, place: Place, height: int) -> Path:
    slide = place.out / "slides" / f"repeated-{WIDTH}x{height}.svs"
    if not slide.is_file():
        unfinished = slide.with_suffix(".partial")
        run(module_command("contestants.big_slide", source, unfinished, str(WIDTH), str(height)))
        unfinished.rename(slide)
    return slide


def _tile(slide: Path, place: Place) -> Measured:
    out = place.scratch / "big-tiles"
    found = run([TOOL, "tile", slide, "--out", out, "--mpp", "0.5", "--patch-size", "256", "--json"])
    shutil.rmtree(out)
    return found


def _segment(slide: Path, model: Path, place: Place) -> Measured:
    out = place.scratch / "big-map"
    found = run(segment_command(slide, model, out / "map.geojson", "--overlap", "0"))
    shutil.rmtree(out)
    return found


def _imports(names: str) -> float:
    return run([sys.executable, "-c", f"import {names}"]).peak_mb
