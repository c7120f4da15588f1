"""The tables of the ablation: the ladder, and what each step of it changes."""

from __future__ import annotations

from typing import Any

from benchmarks.methods.resample import METRICS
from benchmarks.methods.results import (
    CEILING,
    GATES,
    HEADINGS,
    Results,
    Table,
    cost_of,
    counts_of_row,
    difference_of,
    gate_name,
    gates_of,
    made_table,
    number_text,
    source_of,
    verdict_of,
)
from benchmarks.methods.rows import ABLATION, DIFFERENCES, Row


def ablation_tables(results: Results) -> list[Table]:
    """The ladder under every gate, and its differences pair by pair."""
    return [_ladder(results), _differences(results)]


def _ladder(results: Results) -> Table:
    values = [found for name, row in ABLATION.items() if (found := _ladder_row(results, name, row)) is not None]
    lines = [
        [
            v["row"],
            v["title"],
            "<br>".join(f"`{line}`" for line in v["adds"]),
            *(v["miou_a"][gate].text() if gate in v["miou_a"] else "" for gate in GATES),
            v["boundary_a"].text(),
            v["miou_b"].text(),
            number_text(v["gradient_ratio"], 4),
        ]
        for v in values
    ]
    heading = [
        "row", "what", "settings, on top of", "mIoU, no gate", "mIoU, predicted gate", f"mIoU, {CEILING}",
        "Boundary IoU, predicted", "mIoU B, predicted", "gradient ratio",
    ]  # fmt: skip
    title = "Ablation on synthetic slides: protocol A (last but one column B), mean over seeds [95 % interval]"
    return made_table(title, heading, lines, values)


def _ladder_row(results: Results, name: str, row: Row) -> dict[str, Any] | None:
    source = source_of(results, name)
    found = {
        gate: counts
        for gate in gates_of(row)
        if (counts := counts_of_row(results, "synthetic", name, gate)) is not None
    }
    if source is None or not found:
        return None
    under = {gate: counts.estimates() for gate, counts in found.items()}
    runs = list(results.of("synthetic", source).values())
    return {
        "row": name,
        "title": f"{row.title}: {source}" if len(row.reads) > 1 else row.title,
        "adds": [*([f"(on {row.on})"] if row.on else []), *row.adds],
        "seeds": list(found["predicted"].seeds),
        "miou_a": {gate: estimates["miou_a"] for gate, estimates in under.items()},
        **{metric: under["predicted"][metric] for metric in ("mdice_a", "boundary_a", "miou_b")},
        "gradient_ratio": cost_of(runs)["gradient_ratio"],
    }


def _differences(results: Results) -> Table:
    values = []
    for first, second, why in DIFFERENCES:
        for gate in ("predicted", "none", "oracle"):
            found = difference_of(results, "synthetic", first, second, gate)
            if found is not None:
                values.append({"why": why, **found})
    lines = [
        [
            f"{v['row']} - {v['minus']}",
            v["why"],
            gate_name(v["gate"]),
            *(v[name].text(signed=True) for name in METRICS),
            verdict_of(v),
        ]
        for v in values
        if v["gate"] == "predicted"
    ]
    heading = ["difference", "what", "gate", *(HEADINGS[name] for name in METRICS), "mIoU of the first"]
    title = "Ablation, pair by pair: the same groups and seeds drawn for both [95 % interval]"
    return made_table(title, heading, lines, values)
