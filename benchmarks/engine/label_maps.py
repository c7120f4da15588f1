"""From one large label map to a GeoJSON file, against rasterio and TIAToolbox; and whether the files are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from environments import python_of, version_of
from markdown import table
from place import HERE, TOOL, Place
from timing import Measured, in_turn, median, median_ratio, run

OURS, SIMPLIFIED = "wsi-lpd, exact", "wsi-lpd, simplified (1 px)"
RASTERIO = "rasterio.features.shapes + json"


def label_map_tables(place: Place) -> list[str]:
    """One table."""
    labels = place.scratch / "map.npy"
    if not labels.is_file():
        run([_python(), HERE / "map_made.py", labels])
    files = {OURS: "exact.geojson", SIMPLIFIED: "simplified.geojson", RASTERIO: "rasterio.json"}
    out = {name: place.scratch / file for name, file in files.items()}
    contestants: dict[str, Callable[[], Measured]] = {
        RASTERIO: partial(_peer, "rasterio", labels, out[RASTERIO], place),
        OURS: partial(_ours, labels, out[OURS], 0.0),
        SIMPLIFIED: partial(_ours, labels, out[SIMPLIFIED], 1.0),
    }
    if place.with_peers:
        name = version_of("tiatoolbox", place.environments)
        out[name] = place.scratch / "tiatoolbox.json"
        contestants[name] = partial(_peer, "tiatoolbox", labels, out[name], place)
    found = in_turn(contestants, place.repeats)
    return [_table(found, {name: run([_python(), HERE / "map_judge.py", labels, out[name]]) for name in found})]


def _table(found: dict[str, list[Measured]], judged: dict[str, Measured]) -> str:
    rows: list[Sequence[object]] = []
    for name, runs in found.items():
        printed = judged[name].printed
        rows.append(
            (
                name,
                f"{median(runs, 'loop_s'):.1f}",
                f"{median_ratio(runs, found[RASTERIO], 'loop_s'):.2f}",
                f"{median(runs, 'peak_mb'):.0f}",
                printed["polygons"],
                printed["vertices"],
                printed["holes"],
                printed["invalid"],
                "yes" if printed["coverage_is_valid"] else "no",
                f"{printed['wrong_share']:.2%}",
                f"{printed['mb']:.0f}",
            )
        )
    columns = (
        "", "seconds", "/ rasterio", "peak MB", "polygons", "vertices", "holes", "invalid", "valid coverage",
        "pixels wrong when drawn back", "MB",
    )  # fmt: skip
    return table(columns, rows)


def _ours(labels: Path, out: Path, tolerance: float) -> Measured:
    return run([_python(), HERE / "map_ours.py", labels, out, str(tolerance)])


def _peer(peer: str, labels: Path, out: Path, place: Place) -> Measured:
    return run([python_of(peer, place.environments), HERE / f"map_{peer}.py", labels, out])


def _python() -> Path:
    return TOOL.with_name("python")
