"""From the results of runs to Markdown tables and one JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from ablation_rows import ABLATION, DIFFERENCES, METHODS, Row
from resample import METRICS, Estimate, SeededCounts

from wsi_lpd.evaluation.metrics import or_none

GATES = ("none", "predicted", "oracle")
HEADINGS = {"miou_a": "mIoU", "mdice_a": "mDice", "boundary_a": "Boundary IoU", "miou_b": "mIoU, B"}
CEILING = "oracle (ceiling)"


@dataclass(frozen=True)
class Results:
    """Finished runs.

    Attributes:
        by_run: What `one_run` wrote, by (cohort, row, seed).
    """

    by_run: Mapping[tuple[str, str, int], Mapping[str, Any]]

    def of(self, cohort: str, row: str) -> dict[int, Mapping[str, Any]]:
        """The runs of a row by seed."""
        found = {seed: run for (c, r, seed), run in self.by_run.items() if (c, r) == (cohort, row)}
        return dict(sorted(found.items()))

    def counts(self, cohort: str, row: str, gate: str, refinement: str = "none") -> SeededCounts | None:
        """What was counted, None where no run of the row is finished."""
        runs = self.of(cohort, row)
        chosen = {seed: run["scored"][refinement][gate] for seed, run in runs.items() if refinement in run["scored"]}
        return SeededCounts.of_runs(chosen) if chosen else None


@dataclass(frozen=True)
class Table:
    """A title, its Markdown, and the same numbers as plain values."""

    title: str
    markdown: str
    values: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Title and numbers; an estimate is its mean and the ends of its interval."""
        return {"title": self.title, "rows": _plain(self.values)}

    def __str__(self) -> str:
        return f"### {self.title}\n\n{self.markdown}\n"


def methods_tables(results: Results, cohort: str) -> list[Table]:
    """Scores of every method under every gate, what they cost, by how much lpd is ahead, and what stage 2 is worth."""
    return [
        _scores(results, cohort),
        _costs(results, cohort),
        _lpd_minus(results, cohort),
        _second_minus_first(results, cohort),
    ]


def ablation_tables(results: Results) -> list[Table]:
    """The ladder under every gate, and its differences pair by pair."""
    return [_ladder(results), _differences(results)]


def _scores(results: Results, cohort: str) -> Table:
    values: list[dict[str, Any]] = []
    for row in METHODS:
        for gate in _gates(METHODS[row]):
            counts = results.counts(cohort, row, gate)
            if counts is not None:
                values.append({"method": row, "gate": gate, "seeds": list(counts.seeds), **counts.estimates()})
    lines = [[v["method"], _gate(v["gate"]), _seeds(v["seeds"]), *(_told(v[name]) for name in METRICS)] for v in values]
    heading = ["method", "gate", "seeds", *(HEADINGS[name] for name in METRICS)]
    return _table(f"{cohort}: protocol A (and mIoU under B), mean over seeds [95 % interval]", heading, lines, values)


def _costs(results: Results, cohort: str) -> Table:
    values = []
    for row in METHODS:
        runs = list(results.of(cohort, row).values())
        if runs:
            values.append({"method": row, **_cost(runs)})
    lines = [
        [
            v["method"],
            _number(v["seconds_per_epoch"], 1),
            _number(v["peak_mb"], 0),
            _number(v["peak_device_mb"], 0),
            _number(v["data_wait"], 3),
            _number(v["patch_ece"], 3),
            _number(v["gradient_ratio"], 4),
        ]
        for v in values
    ]
    heading = [
        "method", "s / epoch", "peak MB", "peak MB on the GPU", "waiting for data", "ECE of patches",
        "gradient of diversity / classification",
    ]  # fmt: skip
    return _table(f"{cohort}: what it costs, mean over seeds (highest peak)", heading, lines, values)


def _cost(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    printed = [run["training"] for run in runs]
    ratios = [t["diversity_gradient_ratio"]["median"] for t in printed if t["diversity_gradient_ratio"] is not None]
    return {
        "seconds_per_epoch": _over(mean, (t["seconds_per_epoch"] for t in printed)),
        "peak_mb": _over(max, (run["peak_mb"] for run in runs)),
        "peak_device_mb": _over(max, (run["peak_device_mb"] for run in runs)),
        "data_wait": _over(mean, (t["data_wait"] for t in printed)),
        "patch_ece": _over(mean, (run["image_level"]["ece"] for run in runs)),
        "gradient_ratio": _over(median, ratios),
    }


def _lpd_minus(results: Results, cohort: str) -> Table:
    """First stages with each other under every gate, second stages with each other."""
    pairs = [
        ("lpd" if row.masks_of is None else "lpd+decoder", other, gate)
        for other, row in METHODS.items()
        for gate in _gates(row)
        if "lpd" not in (other, row.masks_of)
    ]
    title = f"{cohort}: lpd minus the others, the same groups and seeds drawn for both [95 % interval]"
    return _pairs(results, cohort, pairs, title, "mIoU of lpd")


def _second_minus_first(results: Results, cohort: str) -> Table:
    pairs = [(name, row.masks_of, gate) for name, row in METHODS.items() if row.masks_of for gate in _gates(row)]
    title = f"{cohort}: second stage minus first, the same groups and seeds drawn for both [95 % interval]"
    return _pairs(results, cohort, pairs, title, "mIoU of the second")


def _pairs(results: Results, cohort: str, pairs: Iterable[tuple[str, str, str]], title: str, verdict: str) -> Table:
    values = [found for pair in pairs if (found := _difference(results, cohort, *pair)) is not None]
    lines = [
        [
            f"{v['row']} - {v['minus']}",
            _gate(v["gate"]),
            _seeds(v["seeds"]),
            *(_told(v[name], sign=True) for name in METRICS),
            _verdict(v),
        ]
        for v in values
    ]
    heading = ["difference", "gate", "seeds", *(HEADINGS[name] for name in METRICS), verdict]
    return _table(title, heading, lines, values)


def _difference(results: Results, cohort: str, first: str, second: str, gate: str) -> dict[str, Any] | None:
    ours, theirs = _counts_of_row(results, cohort, first, gate), _counts_of_row(results, cohort, second, gate)
    if ours is None or theirs is None or not set(ours.seeds) & set(theirs.seeds):
        return None
    shared = [seed for seed in ours.seeds if seed in theirs.seeds]
    return {"row": first, "minus": second, "gate": gate, "seeds": shared, **ours.minus(theirs)}


def _ladder(results: Results) -> Table:
    values = [found for name, row in ABLATION.items() if (found := _ladder_row(results, name, row)) is not None]
    lines = [
        [
            v["row"],
            v["title"],
            "<br>".join(f"`{line}`" for line in v["adds"]),
            *(_told(v["miou_a"][gate]) if gate in v["miou_a"] else "" for gate in GATES),
            _told(v["boundary_a"]),
            _told(v["miou_b"]),
            _number(v["gradient_ratio"], 4),
        ]
        for v in values
    ]
    heading = [
        "row", "what", "settings, on top of", "mIoU, no gate", "mIoU, predicted gate", f"mIoU, {CEILING}",
        "Boundary IoU, predicted", "mIoU B, predicted", "gradient ratio",
    ]  # fmt: skip
    title = "Ablation on synthetic slides: protocol A (last but one column B), mean over seeds [95 % interval]"
    return _table(title, heading, lines, values)


def _ladder_row(results: Results, name: str, row: Row) -> dict[str, Any] | None:
    source = _read_from(results, name)
    found = {
        gate: counts for gate in _gates(row) if (counts := _counts_of_row(results, "synthetic", name, gate)) is not None
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
        "gradient_ratio": _cost(runs)["gradient_ratio"],
    }


def _counts_of_row(results: Results, cohort: str, name: str, gate: str) -> SeededCounts | None:
    source = _read_from(results, name)
    row = ABLATION.get(name)
    return None if source is None else results.counts(cohort, source, gate, row.refinement if row else "none")


def _read_from(results: Results, name: str) -> str | None:
    """The row whose runs tell of `name`: itself, or the best of those it reads under the oracle gate."""
    row = ABLATION.get(name)
    if row is None or not row.reads:
        return name
    scored = {}
    for read in row.reads:
        counts = results.counts("synthetic", read, "oracle", row.refinement)
        if counts is None:
            return None
        scored[read] = counts.estimates(draws=1)["miou_a"].mean
    return max(scored, key=lambda read: scored[read])


def _differences(results: Results) -> Table:
    values = []
    for first, second, why in DIFFERENCES:
        for gate in ("predicted", "none", "oracle"):
            found = _difference(results, "synthetic", first, second, gate)
            if found is not None:
                values.append({"why": why, **found})
    lines = [
        [
            f"{v['row']} - {v['minus']}",
            v["why"],
            _gate(v["gate"]),
            *(_told(v[name], sign=True) for name in METRICS),
            _verdict(v),
        ]
        for v in values
        if v["gate"] == "predicted"
    ]
    heading = ["difference", "what", "gate", *(HEADINGS[name] for name in METRICS), "mIoU of the first"]
    title = "Ablation, pair by pair: the same groups and seeds drawn for both [95 % interval]"
    return _table(title, heading, lines, values)


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return {"mean": or_none(value.mean), "low": value.low, "high": value.high}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _verdict(values: Mapping[str, Any]) -> str:
    difference: Estimate = values["miou_a"]
    if difference.low is None:
        return "no interval"
    return "ahead" if difference.is_ahead else "behind" if difference.is_behind else "no difference shown"


def _gates(row: Row) -> tuple[str, ...]:
    return GATES if row.gate is None else (row.gate,)


def _gate(name: str) -> str:
    return CEILING if name == "oracle" else name


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _told(value: Estimate, *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    if value.low is None or value.high is None:
        return f"{value.mean:{form}}"
    return f"{value.mean:{form}} [{value.low:{form}}, {value.high:{form}}]"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _over(reduce: Any, values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(reduce(there)) if there else None


def _table(title: str, heading: Sequence[str], lines: Sequence[Sequence[str]], values: list[dict[str, Any]]) -> Table:
    return Table(title, "\n".join(_markdown(heading, lines)), values)


def _markdown(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    for line in (heading, ["---"] * len(heading), *lines):
        yield f"| {' | '.join(line)} |"
