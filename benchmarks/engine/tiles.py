"""Tiling against its floor, against plain loops, and against the peers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.engine.place import Place
from benchmarks.measuring import TOOL, Measured, in_turn, median, module_command, ratio_of_runs, run, table
from benchmarks.peers import python_of, version_of
from wsi_lpd.config import load_config
from wsi_lpd.tiling.plan import open_to_tile, plan_tiling

THREADS = 2
PEERS = ("tiatoolbox", "lazyslide", "histolab")


@dataclass(frozen=True)
class TileCase:
    """Patches of `patch_px` pixels at `mpp`."""

    mpp: float
    patch_px: int

    @property
    def name(self) -> str:
        """In headings."""
        return f"{self.patch_px} px at {self.mpp:g} um/px"


CASES = (TileCase(0.5, 256), TileCase(1.0, 224))


def tiles_tables(place: Place) -> list[str]:
    """A table for each case."""
    return [_table(place, case) for case in CASES]


def _table(place: Place, case: TileCase) -> str:
    slide = place.slide()
    coords = place.scratch / f"coords-{case.patch_px}.npz"
    _write_coords(slide, case, coords)
    contestants: dict[str, Callable[[], Measured]] = {
        "floor": partial(_floor, slide, coords, place.scratch / "floor.zarr"),
        "wsi-lpd tile": partial(_ours, slide, case, place.scratch / "ours"),
        "OpenSlide loop": partial(_loop, "openslide", slide, coords, place.scratch / "openslide.zarr"),
        "TiffSlide loop": partial(_loop, "tiffslide", slide, coords, place.scratch / "tiffslide.zarr"),
    }
    for peer in PEERS if place.with_peers else ():
        contestants[version_of(peer, place.environments)] = partial(_peer, peer, slide, case, place)
    return f"#### {case.name}\n\n{_rows(in_turn(contestants, place.repeats))}"


def _rows(found: dict[str, list[Measured]]) -> str:
    ours = found["wsi-lpd tile"]
    rows: list[Sequence[object]] = []
    for name, runs in found.items():
        per_patch = median(runs, "loop_s") / median(runs, "n")
        ratio = ratio_of_runs(runs, ours, "per_patch_s")
        rows.append(
            (
                name,
                f"{median(runs, 'n'):.0f}",
                f"{1 / per_patch:.0f}",
                f"{ratio:.2f}",
                f"{median(runs, 'wall_s'):.1f}",
                f"{median(runs, 'cpu_s'):.1f}",
                f"{median(runs, 'peak_mb'):.0f}",
                f"{median(runs, 'written_mb'):.0f}",
            )
        )
    floor = found["floor"]
    whole = ratio_of_runs(ours, floor, "wall_s", "loop_s")
    columns = ("", "patches", "patches/s", "time per patch / ours", "process s", "cpu s", "peak MB", "MB written")
    loop, decoding = ratio_of_runs(ours, floor, "loop_s"), ratio_of_runs(floor, floor, "decode_s", "loop_s")
    limits = (
        f"Our loop takes {loop:.2f} times the floor (limit 1.2), our whole process {whole:.2f} times (limit 1.5). "
        f"Decoding is {decoding:.0%} of the floor."
    )
    return f"{table(columns, rows)}\n\n{limits}"


def _write_coords(slide: Path, case: TileCase, path: Path) -> None:
    config = load_config(None, [f"tile.mpp={case.mpp}", f"tile.patch_px={case.patch_px}"]).tile
    with open_to_tile(slide) as opened:
        plan = plan_tiling(opened, config)
        np.savez(path, coords=plan.coords, side=plan.grid.side, patch_px=case.patch_px)


def _floor(slide: Path, coords: Path, out: Path) -> Measured:
    found = run(module_command("contestants.tile_floor", slide, coords, out, "--threads", str(THREADS)))
    return _completed(found, out, found.summary["decode_s"] + found.summary["zarr_s"], found.summary["n"])


def _ours(slide: Path, case: TileCase, out: Path) -> Measured:
    shutil.rmtree(out, ignore_errors=True)
    settings = ["--mpp", str(case.mpp), "--patch-size", str(case.patch_px), "--threads", str(THREADS)]
    found = run([TOOL, "tile", slide, "--out", out, "--json", *settings])
    (report,) = found.summary["slides"]
    return _completed(found, out, report["seconds"], report["n_patches"])


def _loop(library: str, slide: Path, coords: Path, out: Path) -> Measured:
    found = run(module_command("contestants.tile_loop", library, slide, coords, out))
    return _completed(found, out, found.summary["loop_s"], found.summary["n"])


def _peer(peer: str, slide: Path, case: TileCase, place: Place) -> Measured:
    out = place.scratch / peer
    shutil.rmtree(out, ignore_errors=True)
    python = python_of(peer, place.environments)
    found = run(module_command(f"peers.tile_{peer}", slide, str(case.mpp), str(case.patch_px), out, python=python))
    return _completed(found, out, found.summary["loop_s"], found.summary["n"])


def _completed(found: Measured, out: Path, loop_s: float, n: int) -> Measured:
    written_mb = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
    summary = {**found.summary, "loop_s": loop_s, "n": n, "per_patch_s": loop_s / n, "written_mb": written_mb}
    return Measured(found.wall_s, found.cpu_s, found.peak_mb, summary)
