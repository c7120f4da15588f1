"""Intervals and tables of the comparison, by hand and against the library."""

from __future__ import annotations

import numpy as np
import pytest
from bench_results import GROUPS, random_run, result, seeded

from benchmarks.methods import Results
from benchmarks.methods.ablation import ablation_tables
from benchmarks.methods.tables import methods_tables


def test_scores__are_those_of_the_library():
    report = random_run(3, GROUPS)
    found = seeded({3: report}).estimates(draws=200)
    assert found["miou_a"].mean == pytest.approx(report.scores("A").miou)
    assert found["mdice_a"].mean == pytest.approx(report.scores("A").mdice)
    assert found["boundary_a"].mean == pytest.approx(report.scores("A").boundary.miou)
    assert found["miou_b"].mean == pytest.approx(report.scores("B").miou)
    assert found["miou_a"].mean != pytest.approx(found["miou_b"].mean)


def test_a_single_seed__has_the_intervals_of_the_library():
    report = random_run(3, GROUPS)
    found, expected = seeded({3: report}).estimates(draws=4000)["miou_a"], report.intervals("A", draws=4000).miou
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


def test_seeds__are_averaged_and_drawn_as_well():
    one_group = ["a"] * 3
    reports = {seed: random_run(seed, one_group, accuracy=0.3 + 0.2 * seed) for seed in range(3)}
    scores = [report.scores("A").miou for report in reports.values()]
    found = seeded(reports).estimates(draws=2000)["miou_a"]
    assert found.mean == pytest.approx(np.mean(scores))
    # With one group only seeds vary; the same seed is drawn three times in 1 of 27 draws, more than 2.5 %.
    assert found.low == pytest.approx(min(scores))
    assert found.high == pytest.approx(max(scores))


def test_one_group_and_one_seed__has_no_interval():
    found = seeded({0: random_run(0, ["a", "a"])}).estimates(draws=10)["miou_a"]
    assert found.low is None
    assert found.high is None


def test_a_difference__is_drawn_in_pairs():
    # Groups differ far more than the two rows do: unpaired, no difference would show.
    worse = {seed: random_run(seed, GROUPS, accuracy=0.5) for seed in range(3)}
    better = {seed: random_run(seed, GROUPS, accuracy=0.56) for seed in range(4)}
    alone = seeded(better).estimates(draws=2000)["miou_a"]
    difference = seeded(better).minus(seeded(worse), draws=2000)["miou_a"]
    means = [np.mean([runs[seed].scores("A").miou for seed in range(3)]) for runs in (better, worse)]
    assert difference.mean == pytest.approx(means[0] - means[1])
    assert difference.high - difference.low < (alone.high - alone.low) / 2
    assert difference.is_ahead
    back = seeded(worse).minus(seeded(better), draws=2000)["miou_a"]
    assert back.is_behind
    assert back.low == pytest.approx(-difference.high, abs=1e-3)


def test_a_row_minus_itself__is_nothing():
    runs = seeded({seed: random_run(seed, GROUPS) for seed in range(2)})
    difference = runs.minus(runs, draws=100)["boundary_a"]
    assert difference == (0, 0, 0)
    assert not difference.is_ahead


def test_rows_of_other_images__are_not_compared():
    with pytest.raises(ValueError, match="share groups"):
        seeded({0: random_run(0, GROUPS)}).minus(seeded({0: random_run(0, [*GROUPS, "e"])}))


def test_tables__say_which_gate_is_a_ceiling_and_who_is_ahead():
    accuracy = {"cam": 0.3, "pbip": 0.5, "lpd": 0.55}
    found = {("synthetic", row, seed): result(seed, a) for row, a in accuracy.items() for seed in range(3)}
    scores, costs, differences, _ = methods_tables(Results(found), "synthetic")
    assert scores.markdown.count("oracle (ceiling)") == 3
    assert "| lpd-reference |" not in scores.markdown
    assert [line["seconds_per_epoch"] for line in costs.values] == [11.0] * 3
    assert [line["peak_mb"] for line in costs.values] == [902.0] * 3
    by_pair = {(line["minus"], line["gate"]): line["miou_a"] for line in differences.values}
    assert by_pair["cam", "predicted"].mean > by_pair["pbip", "predicted"].mean > 0
    assert "| lpd - cam | predicted |" in differences.markdown
    assert differences.to_json()["rows"][0]["miou_a"].keys() == {"mean", "low", "high"}


def test_the_ladder__reads_r8_off_the_best_of_its_rows():
    accuracy = {"R6a": 0.4, "R6b": 0.6, "R7": 0.5}
    found = {("synthetic", row, seed): result(seed, a) for row, a in accuracy.items() for seed in range(2)}
    ladder, differences = ablation_tables(Results(found))
    rows = {line["row"]: line for line in ladder.values}
    assert rows["R8"]["title"].endswith(": R6b")
    assert rows["R8"]["miou_a"] == {"predicted": rows["R6b"]["miou_a"]["predicted"]}
    assert "R10" not in rows
    assert [line["minus"] for line in differences.values if line["gate"] == "none"] == ["R6b"]


def test_a_second_stage__is_shown_without_a_gate():
    seeds = {"lpd": (0, 1), "lpd+decoder": (0,), "cam": (0, 1), "cam+decoder": (0, 1)}
    found = {("synthetic", row, seed): result(seed, 0.5) for row, done in seeds.items() for seed in done}
    scores, _, differences, gains = methods_tables(Results(found), "synthetic")
    assert [v["gate"] for v in scores.values if v["method"] == "lpd+decoder"] == ["none"]
    assert "| cam | none | 0, 1 |" in scores.markdown
    of_second = [(v["row"], v["minus"], v["gate"], v["seeds"]) for v in differences.values if "+" in v["row"]]
    assert of_second == [("lpd+decoder", "cam+decoder", "none", [0])]
    assert {v["minus"] for v in differences.values if v["row"] == "lpd"} == {"cam"}
    assert [(v["row"], v["minus"], v["gate"], v["seeds"]) for v in gains.values] == [
        ("cam+decoder", "cam", "none", [0, 1]),
        ("lpd+decoder", "lpd", "none", [0]),
    ]
