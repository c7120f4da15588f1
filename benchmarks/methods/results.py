"""Finished runs, what is counted in them, and the parts that all tables are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from benchmarks.measuring import Estimate, table
from benchmarks.methods.resample import SeededCounts
from benchmarks.methods.rows import ABLATION, Row
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


def counts_of_row(results: Results, cohort: str, name: str, gate: str) -> SeededCounts | None:
    """What was counted of a row, read from the runs of another one where it trains nothing itself."""
    source = source_of(results, name)
    row = ABLATION.get(name)
    return None if source is None else results.counts(cohort, source, gate, row.refinement if row else "none")


def source_of(results: Results, name: str) -> str | None:
    """The row whose runs `name` stands for: itself, or the best under the oracle gate of those it reads."""
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


def cost_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds, memory, calibration error and gradients, over the seeds of a row."""
    training = [run["training"] for run in runs]
    ratios = [t["diversity_gradient_ratio"]["median"] for t in training if t["diversity_gradient_ratio"] is not None]
    return {
        "seconds_per_epoch": _reduced(mean, (t["seconds_per_epoch"] for t in training)),
        "peak_mb": _reduced(max, (run["peak_mb"] for run in runs)),
        "peak_device_mb": _reduced(max, (run["peak_device_mb"] for run in runs)),
        "data_wait": _reduced(mean, (t["data_wait"] for t in training)),
        "patch_ece": _reduced(mean, (run["image_level"]["ece"] for run in runs)),
        "gradient_ratio": _reduced(median, ratios),
    }


def difference_of(results: Results, cohort: str, first: str, second: str, gate: str) -> dict[str, Any] | None:
    """First minus second over the seeds that both have; None where they share none."""
    ours, theirs = counts_of_row(results, cohort, first, gate), counts_of_row(results, cohort, second, gate)
    if ours is None or theirs is None or not set(ours.seeds) & set(theirs.seeds):
        return None
    shared = [seed for seed in ours.seeds if seed in theirs.seeds]
    return {"row": first, "minus": second, "gate": gate, "seeds": shared, **ours.minus(theirs)}


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return {"mean": or_none(value.mean), "low": value.low, "high": value.high}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def verdict_of(values: Mapping[str, Any]) -> str:
    """Whether the interval of a difference in mIoU excludes 0, in words."""
    difference: Estimate = values["miou_a"]
    if difference.low is None:
        return "no interval"
    return "ahead" if difference.is_ahead else "behind" if difference.is_behind else "no difference shown"


def gates_of(row: Row) -> tuple[str, ...]:
    """The gates that a row is shown under."""
    return GATES if row.gate is None else (row.gate,)


def gate_name(name: str) -> str:
    """As a table shows it."""
    return CEILING if name == "oracle" else name


def seeds_text(seeds: Sequence[int]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, seeds))


def number_text(value: float | None, digits: int) -> str:
    """With so many decimals; empty for None."""
    return "" if value is None else f"{value:.{digits}f}"


def _reduced(reduce: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(reduce(there)) if there else None


def made_table(
    title: str, columns: Sequence[str], lines: Sequence[Sequence[str]], values: list[dict[str, Any]]
) -> Table:
    """A table of these lines, with the numbers behind them."""
    return Table(title, table(columns, lines), values)
