"""From one large label map to a GeoJSON file, against rasterio and TIAToolbox; and whether the files are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.engine.place import Place
from benchmarks.measuring import Measured, in_turn, median, module_command, ratio_of_runs, run, table
from benchmarks.peers import python_of, version_of

OURS, SIMPLIFIED = "wsi-lpd, exact", "wsi-lpd, simplified (1 px)"
RASTERIO = "rasterio.features.shapes + json"


def label_map_tables(place: Place) -> list[str]:
    """One table."""
    labels = place.scratch / "map.npy"
    if not labels.is_file():
        run(module_command("contestants.map_made", labels))
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
    return [_table(found, {name: run(module_command("contestants.map_judge", labels, out[name])) for name in found})]


def _table(found: dict[str, list[Measured]], judged: dict[str, Measured]) -> str:
    rows: list[Sequence[object]] = []
    for name, runs in found.items():
        verdict = judged[name].summary
        rows.append(
            (
                name,
                f"{median(runs, 'loop_s'):.1f}",
                f"{ratio_of_runs(runs, found[RASTERIO], 'loop_s'):.2f}",
                f"{median(runs, 'peak_mb'):.0f}",
                verdict["polygons"],
                verdict["vertices"],
                verdict["holes"],
                verdict["invalid"],
                "yes" if verdict["coverage_is_valid"] else "no",
                f"{verdict['wrong_share']:.2%}",
                f"{verdict['mb']:.0f}",
            )
        )
    columns = (
        "", "seconds", "/ rasterio", "peak MB", "polygons", "vertices", "holes", "invalid", "valid coverage",
        "pixels wrong when rasterised", "MB",
    )  # fmt: skip
    return table(columns, rows)


def _ours(labels: Path, out: Path, tolerance: float) -> Measured:
    return run(module_command("contestants.map_ours", labels, out, str(tolerance)))


def _peer(peer: str, labels: Path, out: Path, place: Place) -> Measured:
    return run(module_command(f"peers.map_{peer}", labels, out, python=python_of(peer, place.environments)))
