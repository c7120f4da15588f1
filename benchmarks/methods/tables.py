"""The tables of the methods: scores, costs, and differences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.methods.resample import METRICS
from benchmarks.methods.results import (
    HEADINGS,
    Results,
    Table,
    cost_of,
    difference_of,
    gate_name,
    gates_of,
    made_table,
    number_text,
    seeds_text,
    verdict_of,
)
from benchmarks.methods.rows import METHODS


def methods_tables(results: Results, cohort: str) -> list[Table]:
    """Scores of every method under every gate, what they cost, by how much lpd is ahead, and what stage 2 is worth."""
    return [
        _scores(results, cohort),
        _costs(results, cohort),
        _lpd_minus(results, cohort),
        _second_minus_first(results, cohort),
    ]


def _scores(results: Results, cohort: str) -> Table:
    values: list[dict[str, Any]] = []
    for row in METHODS:
        for gate in gates_of(METHODS[row]):
            counts = results.counts(cohort, row, gate)
            if counts is not None:
                values.append({"method": row, "gate": gate, "seeds": list(counts.seeds), **counts.estimates()})
    lines = [
        [v["method"], gate_name(v["gate"]), seeds_text(v["seeds"]), *(v[name].text() for name in METRICS)]
        for v in values
    ]
    heading = ["method", "gate", "seeds", *(HEADINGS[name] for name in METRICS)]
    return made_table(
        f"{cohort}: protocol A (and mIoU under B), mean over seeds [95 % interval]", heading, lines, values
    )


def _costs(results: Results, cohort: str) -> Table:
    values = []
    for row in METHODS:
        runs = list(results.of(cohort, row).values())
        if runs:
            values.append({"method": row, **cost_of(runs)})
    lines = [
        [
            v["method"],
            number_text(v["seconds_per_epoch"], 1),
            number_text(v["peak_mb"], 0),
            number_text(v["peak_device_mb"], 0),
            number_text(v["data_wait"], 3),
            number_text(v["patch_ece"], 3),
            number_text(v["gradient_ratio"], 4),
        ]
        for v in values
    ]
    heading = [
        "method", "s / epoch", "peak MB", "peak MB on the GPU", "waiting for data", "ECE of patches",
        "gradient of diversity / classification",
    ]  # fmt: skip
    return made_table(f"{cohort}: what it costs, mean over seeds (highest peak)", heading, lines, values)


def _lpd_minus(results: Results, cohort: str) -> Table:
    """First stages with each other under every gate, second stages with each other."""
    pairs = [
        ("lpd" if row.masks_of is None else "lpd+decoder", other, gate)
        for other, row in METHODS.items()
        for gate in gates_of(row)
        if "lpd" not in (other, row.masks_of)
    ]
    title = f"{cohort}: lpd minus the others, the same groups and seeds drawn for both [95 % interval]"
    return _pairs(results, cohort, pairs, title, "mIoU of lpd")


def _second_minus_first(results: Results, cohort: str) -> Table:
    pairs = [(name, row.masks_of, gate) for name, row in METHODS.items() if row.masks_of for gate in gates_of(row)]
    title = f"{cohort}: second stage minus first, the same groups and seeds drawn for both [95 % interval]"
    return _pairs(results, cohort, pairs, title, "mIoU of the second")


def _pairs(results: Results, cohort: str, pairs: Iterable[tuple[str, str, str]], title: str, verdict: str) -> Table:
    values = [found for pair in pairs if (found := difference_of(results, cohort, *pair)) is not None]
    lines = [
        [
            f"{v['row']} - {v['minus']}",
            gate_name(v["gate"]),
            seeds_text(v["seeds"]),
            *(v[name].text(signed=True) for name in METRICS),
            verdict_of(v),
        ]
        for v in values
    ]
    heading = ["difference", "gate", "seeds", *(HEADINGS[name] for name in METRICS), verdict]
    return made_table(title, heading, lines, values)
