"""Segmenting against nothing but forward passes, and against TIAToolbox with the same network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.engine.models import random_run
from benchmarks.engine.place import Place
from benchmarks.engine.segment_command import BATCH, segment_command
from benchmarks.measuring import Measured, in_turn, median, module_command, ratio_of_runs, run, table
from benchmarks.peers import python_of, version_of

WAYS = {"alone": "one after another", "together": "one per core at a time"}
"""How torch runs the forward passes; the floor is the faster of the two in each round."""
FASTEST = "forward passes, one per core at a time, OpenVINO"
ENCODER = "pvt_v2_b0"
OVERLAPS = (0.0, 0.5)
FINE = "wsi-lpd, a label for every pixel"


def segmenting_tables(place: Place) -> list[str]:
    """A table for each overlap."""
    model = random_run(place.out / "models" / ENCODER, ENCODER, place.slide())
    return [_table(place, model, overlap) for overlap in OVERLAPS]


def _table(place: Place, model: Path, overlap: float) -> str:
    slide = place.slide()
    step = int(_forward(model, slide, overlap, "together").summary["step_px"])
    contestants: dict[str, Callable[[], Measured]] = {
        **{f"forward passes, {title}": partial(_forward, model, slide, overlap, way) for way, title in WAYS.items()},
        FASTEST: partial(_forward, model, slide, overlap, "openvino"),
        "wsi-lpd": partial(_ours, model, slide, overlap, place.scratch / "ours", ()),
        FINE: partial(_ours, model, slide, overlap, place.scratch / "fine", ("--set", "segment.output_stride=1")),
    }
    if place.with_peers:
        name = version_of("tiatoolbox", place.environments)
        for title, output in (("to zarr", "zarr"), ("with QuPath JSON", "qupath")):
            contestants[f"{name} {title}"] = partial(_peer, model, slide, step, output, place)
    found = in_turn(contestants, place.repeats)
    return f"#### {overlap:.0%} overlap (windows of 224 px every {step} px)\n\n{_rows(found)}"


def _rows(found: dict[str, list[Measured]]) -> str:
    ways = [found[f"forward passes, {title}"] for title in WAYS.values()]
    floor = [min(runs, key=lambda run: run.number("per_window_s")) for runs in zip(*ways, strict=True)]
    ours = found["wsi-lpd"]
    rows: list[Sequence[object]] = [
        (
            name,
            f"{median(runs, 'n'):.0f}",
            f"{ratio_of_runs(runs, floor, 'per_window_s'):.2f}",
            f"{ratio_of_runs(runs, floor, 'whole_per_window_s', 'per_window_s'):.2f}",
            f"{median(runs, 'wall_s'):.1f}",
            f"{median(runs, 'cpu_s'):.1f}",
            f"{median(runs, 'peak_mb'):.0f}",
        )
        for name, runs in found.items()
    ]
    columns = (
        "", "windows", "loop / forward passes, per window", "the same with the file written", "process s", "cpu s",
        "peak MB",
    )  # fmt: skip
    limits = (
        f"Our loop takes {ratio_of_runs(ours, floor, 'per_window_s'):.2f} times torch's forward passes (limit 1.10), "
        f"{ratio_of_runs(ours, found[FASTEST], 'per_window_s'):.2f} times OpenVINO's, whose start only ours includes."
    )
    return f"{table(columns, rows)}\n\n{limits}"


def _forward(model: Path, slide: Path, overlap: float, way: str) -> Measured:
    found = run(module_command("contestants.forward", model, slide, str(overlap), str(BATCH), way))
    return _completed(found, found.summary["n"], found.summary["loop_s"], found.summary["loop_s"])


def _ours(model: Path, slide: Path, overlap: float, out: Path, options: Sequence[str]) -> Measured:
    shutil.rmtree(out, ignore_errors=True)
    found = run(segment_command(slide, model, out / "map.geojson", "--overlap", str(overlap), *options))
    (summary,) = found.summary["slides"]
    seconds = summary["seconds"]
    return _completed(found, summary["n_windows"], seconds["network"], sum(seconds.values()))


def _peer(model: Path, slide: Path, step: int, output: str, place: Place) -> Measured:
    out = place.scratch / "tiatoolbox"
    shutil.rmtree(out, ignore_errors=True)
    python = python_of("tiatoolbox", place.environments)
    words = (model, slide, out, str(step), str(BATCH), output)
    found = run(module_command("peers.segment_tiatoolbox", *words, python=python))
    return _completed(found, found.summary["n"], found.summary["loop_s"], found.summary["loop_s"])


def _completed(found: Measured, n: int, loop_s: float, whole_s: float) -> Measured:
    summary = {**found.summary, "n": n, "per_window_s": loop_s / n, "whole_per_window_s": whole_s / n}
    return Measured(found.wall_s, found.cpu_s, found.peak_mb, summary)
