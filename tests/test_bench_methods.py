"""The comparison of methods: rows that say what they claim, intervals by hand, and a whole run on tiny slides."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import ablation_rows  # noqa: E402
import cohorts  # noqa: E402
import curves  # noqa: E402
import losses as losses_benchmark  # noqa: E402
import methods as methods_benchmark  # noqa: E402
import one_run  # noqa: E402
import resample  # noqa: E402
import tables  # noqa: E402
import text_vectors  # noqa: E402
from sizes import SIZES  # noqa: E402

from wsi_lpd.config import (  # noqa: E402
    Config,
    load_config,
    methods,
)
from wsi_lpd.errors import ConfigError  # noqa: E402
from wsi_lpd.evaluation.report import ImageCounts, Report, tally  # noqa: E402
from wsi_lpd.evaluation.true_images import TrueImage  # noqa: E402
from wsi_lpd.methods.reference import ReferenceConfig  # noqa: E402
from wsi_lpd.methods.tpro.vectors import read_vectors  # noqa: E402

NAMES = ("Tumor", "Stroma", "Immune cells")
TRAINED = [name for name, row in ablation_rows.ROWS.items() if not row.reads]


def configured(row: str) -> Config:
    return load_config(None, ablation_rows.settings_of(row, reference_dim=SIZES["cpu"].reference_dim))


# Rows


@pytest.mark.parametrize("row", TRAINED)
def test_every_row__is_a_valid_configuration_unlike_all_others(row):
    def made(name):
        return configured(name), ablation_rows.ROWS[name].masks_of

    assert not [other for other in TRAINED if other != row and made(other) == made(row)]


def test_every_method__has_a_row():
    first_stages = set(methods()) - {"decoder"}
    assert set(ablation_rows.METHODS) == first_stages | {f"{name}+decoder" for name in first_stages}


def test_the_ladder__ends_at_what_the_default_weighs():
    last, default = configured("plus-pseudo"), Config()
    for name in ("exclusion_weight", "pseudo_weight", "similarity_weight", "diversity_weight", "refiner"):
        assert getattr(last.loss, name) == getattr(default.loss, name), name
    assert last.augment == default.augment
    assert last.model.scores == default.model.scores
    assert configured("lpd") == default


def test_a_row__stands_on_another():
    assert configured("R4").loss.diversity_weight == configured("R3").loss.diversity_weight == 0.5
    assert not configured("R4").own(ReferenceConfig).class_offset
    assert configured("R3").own(ReferenceConfig).class_offset
    for name in ("R0", "R1", "R2", "R5", "R6a", "R6b", "R7"):
        assert configured(name).model.scores == "relative", name
    assert configured("R9").model.scores == "absolute"
    assert ablation_rows.refinements_of("R9") == ("none", "pamr")


# Intervals


def random_maps(generator, shape=(23, 31)):
    return generator.integers(0, len(NAMES) + 1, size=shape).astype(np.uint8)


def random_run(seed, groups, *, accuracy=0.5):
    """Results as `one_run` writes them; the truth of a group is the same for every seed and accuracy."""
    counted = []
    for i, group in enumerate(groups):
        truth = random_maps(np.random.default_rng(i))
        generator = np.random.default_rng((seed, i, 7))
        noise = random_maps(generator)
        share = accuracy + 0.2 * (i % 3 - 1)
        prediction = np.where(generator.random(truth.shape) < share, truth, noise).astype(np.uint8)
        counted.append(ImageCounts(f"{group}-{i}", group, tally(truth, prediction, len(NAMES))))
    return Report(NAMES, tuple(counted), "grid", ())


def as_json(report):
    return json.loads(json.dumps(one_run.counts_of(report)))


def seeded(reports):
    return resample.SeededCounts.of_runs({seed: as_json(report) for seed, report in reports.items()})


GROUPS = ["b", "a", "c", "a", "b", "d"]


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
    # Groups differ far more than the two rows do: unpaired, nothing could be told.
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


# Tables


def result(seed, accuracy, *, refinements=("none",)):
    gates = {
        gate: as_json(random_run(seed, GROUPS, accuracy=accuracy + shift))
        for gate, shift in (("none", -0.1), ("predicted", 0.0), ("oracle", 0.1))
    }
    ratios = {"n": 3, "median": accuracy, "least": 0.0, "most": 1.0}
    printed = {"seconds_per_epoch": 10.0 + seed, "data_wait": 0.01, "diversity_gradient_ratio": ratios}
    return {
        "scored": dict.fromkeys(refinements, gates),
        "training": printed,
        "peak_mb": 900.0 + seed,
        "peak_device_mb": None,
        "image_level": {"ece": 0.05},
    }


def test_tables__say_which_gate_is_a_ceiling_and_who_is_ahead():
    accuracy = {"cam": 0.3, "pbip": 0.5, "lpd": 0.55}
    found = {("synthetic", row, seed): result(seed, a) for row, a in accuracy.items() for seed in range(3)}
    scores, costs, differences, _ = tables.methods_tables(tables.Results(found), "synthetic")
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
    ladder, differences = tables.ablation_tables(tables.Results(found))
    rows = {line["row"]: line for line in ladder.values}
    assert rows["R8"]["title"].endswith(": R6b")
    assert rows["R8"]["miou_a"] == {"predicted": rows["R6b"]["miou_a"]["predicted"]}
    assert "R10" not in rows
    assert [line["minus"] for line in differences.values if line["gate"] == "none"] == ["R6b"]


# Runs


def options(**changes):
    values = {
        "table": "all",
        "seeds": 3,
        "second_stage_seeds": 3,
        "ablation_seeds": 2,
        "rows": None,
        "set": [],
    } | changes
    return argparse.Namespace(**values)


def test_planned_runs__are_each_planned_once_and_share_the_default():
    jobs = methods_benchmark.planned_jobs(SIZES["cpu"], ["synthetic", "wsss4luad"], options())
    names = [job.name for job in jobs]
    asked_for = [row for row in TRAINED if not ablation_rows.ROWS[row].extra]
    n_methods = len(ablation_rows.METHODS)
    assert len(set(names)) == len(names) == 2 * 3 * n_methods + 2 * (len(asked_for) - n_methods)
    assert names.count("synthetic-lpd-1") == 1
    assert {job.row for job in jobs if job.cohort == "wsss4luad"} == set(ablation_rows.METHODS)
    assert {load_config(None, job.settings).train.seed for job in jobs} == {0, 1, 2}


def test_extra_rows__run_when_they_are_named():
    jobs = methods_benchmark.planned_jobs(SIZES["cpu"], ["synthetic"], options(rows=["K10", "no-diversity"]))
    assert [job.name for job in jobs] == [
        f"synthetic-{row}-{seed}" for seed in (0, 1) for row in ("no-diversity", "K10")
    ]


def test_every_first_stage__has_a_second_one_that_comes_with_it():
    assert {row.masks_of for row in ablation_rows.METHODS.values()} - {None} == set(ablation_rows.FIRST_STAGES)
    jobs = methods_benchmark.planned_jobs(SIZES["cpu"], ["synthetic"], options(rows=["cam+decoder"], seeds=1))
    assert [(job.name, job.masks_of) for job in jobs] == [
        ("synthetic-cam-0", None), ("synthetic-cam+decoder-0", "cam"),
    ]  # fmt: skip
    assert jobs[1].name_of("cam") == jobs[0].name
    assert load_config(None, jobs[1].settings).method == "decoder"


def test_second_stages__have_seeds_of_their_own_and_bring_no_first_stage_alone():
    given = options(rows=["lpd", "cam+decoder"], table="methods", seeds=2, second_stage_seeds=1)
    names = [job.name for job in methods_benchmark.planned_jobs(SIZES["cpu"], ["synthetic"], given)]
    assert names == ["synthetic-cam-0", "synthetic-lpd-0", "synthetic-cam+decoder-0", "synthetic-lpd-1"]


def test_a_second_stage__is_told_without_a_gate():
    seeds = {"lpd": (0, 1), "lpd+decoder": (0,), "cam": (0, 1), "cam+decoder": (0, 1)}
    found = {("synthetic", row, seed): result(seed, 0.5) for row, known in seeds.items() for seed in known}
    scores, _, differences, gains = tables.methods_tables(tables.Results(found), "synthetic")
    assert [v["gate"] for v in scores.values if v["method"] == "lpd+decoder"] == ["none"]
    assert "| cam | none | 0, 1 |" in scores.markdown
    of_second = [(v["row"], v["minus"], v["gate"], v["seeds"]) for v in differences.values if "+" in v["row"]]
    assert of_second == [("lpd+decoder", "cam+decoder", "none", [0])]
    assert {v["minus"] for v in differences.values if v["row"] == "lpd"} == {"cam"}
    assert [(v["row"], v["minus"], v["gate"], v["seeds"]) for v in gains.values] == [
        ("cam+decoder", "cam", "none", [0, 1]),
        ("lpd+decoder", "lpd", "none", [0]),
    ]


def test_set__comes_before_what_makes_the_row():
    given = options(set=["loss.diversity_weight=0.4", "train.batch_size=5"], rows=["lpd", "no-diversity"])
    jobs = methods_benchmark.planned_jobs(SIZES["cpu"], ["synthetic"], given)
    weights = {job.row: load_config(None, job.settings).loss.diversity_weight for job in jobs}
    assert weights == {"lpd": 0.4, "no-diversity": 0}
    assert load_config(None, jobs[0].settings).train.batch_size == 5


def test_what_training_tells__averages_seconds_not_rates():
    def line(part, rate, ratio=""):
        return {"part": part, "patches_per_s": rate, "data_wait": "0.02", "diversity_gradient_ratio": ratio}

    rows = [line("train", "100"), line("train", "50", "0.5"), line("val", ""), line("train", "25", "0.1")]
    printed = one_run.printed_by(rows, 200)
    assert printed["seconds_per_epoch"] == pytest.approx((2 + 4 + 8) / 3)
    assert printed["diversity_gradient_ratio"] == {"n": 2, "median": 0.3, "least": 0.1, "most": 0.5}


def test_held_out_images__come_back_as_they_were_kept(tmp_path):
    generator = np.random.default_rng(4)
    kept = TrueImage(
        "x", "slide 7", generator.integers(0, 256, (9, 14, 3), dtype=np.uint8), random_maps(generator, (9, 14))
    )
    cohorts.keep(tmp_path, kept)
    (found,) = cohorts.Cohort("synthetic", tmp_path).held_out
    assert (found.name, found.group) == ("x", "slide 7")
    np.testing.assert_array_equal(found.pixels, kept.pixels)
    np.testing.assert_array_equal(found.truth, kept.truth)


def test_squares__fill_the_image_in_reading_order_and_keep_its_group():
    generator = np.random.default_rng(5)
    truth = random_maps(generator, (20, 30))
    whole = TrueImage("s", "slide 7", generator.integers(0, 256, (20, 30, 3), dtype=np.uint8), truth)
    parts = list(cohorts.cut_up(whole, 10))
    assert [part.name for part in parts] == ["s-0-0", "s-10-0", "s-20-0", "s-0-10", "s-10-10", "s-20-10"]
    assert {part.group for part in parts} == {"slide 7"}
    np.testing.assert_array_equal(parts[2].truth, truth[:10, 20:])
    np.testing.assert_array_equal(parts[3].pixels, whole.pixels[10:, :10])
    with pytest.raises(ValueError, match="do not fill"):
        list(cohorts.cut_up(whole, 12))


def test_every_size__cuts_its_held_out_slides_without_a_rest():
    for size in SIZES.values():
        assert size.held_out_px * cohorts.SLIDE_MPP / size.mpp % size.scored_px == 0


def test_the_loop__is_the_vectorised_loss():
    similarity, mask = losses_benchmark.random_input(seed=1)
    value, gradient = losses_benchmark.value_and_gradient(losses_benchmark.vectorised, similarity, mask)
    expected, expected_gradient = losses_benchmark.value_and_gradient(losses_benchmark.looped, similarity, mask)
    assert 0.1 < float(expected) < 0.9
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5 * float(expected_gradient.abs().max()))


def test_a_cohort_of_another_size__is_refused(tmp_path):
    (tmp_path / "cohort.json").write_text('{"size": "other"}')
    with pytest.raises(ConfigError, match="choose another --out"):
        cohorts.synthetic_cohort(tmp_path, SIZES["tiny"])


# Curves


def test_every_curve__plans_each_point_once_and_sets_it():
    jobs = curves.planned_jobs(list(curves.CURVES), SIZES["cpu"], seeds=2)
    assert (
        len({job.name for job in jobs})
        == len(jobs)
        == 2 * sum(len(curve.rows) * len(curve.points) for curve in curves.CURVES.values())
    )
    by_row = {job.row: load_config(None, job.settings) for job in jobs}
    assert (by_row["pscl-epochs-3"].train.epochs, by_row["pscl-epochs-3"].train.max_steps) == (3, None)
    assert by_row["pscl-epochs-3"].method == "pscl"
    assert by_row["lpd-prototypes-10"].model.prototypes_per_class == 10
    assert by_row["lpd-diversity-0.05"].loss.diversity_weight == 0.05
    assert by_row["lpd-diversity-0.05"].train.max_steps == SIZES["cpu"].steps
    few = curves.planned_jobs(["epochs"], SIZES["cpu"], seeds=1, points=[5, 7])
    assert [job.name for job in few] == [f"synthetic-{row}-epochs-5-0" for row in ("pscl", "cam", "lpd")]


def test_a_figure__is_the_same_bytes_for_the_same_numbers_and_shows_each_line(tmp_path):
    pytest.importorskip("matplotlib", reason="the figures need matplotlib")
    curve = curves.CURVES["epochs"]
    points = [
        curves.Point(row, x, 2, resample.Estimate(0.3 + 0.01 * x, 0.2, None if x == 2 else 0.7))
        for row in ("pscl", "lpd")
        for x in (1, 2, 5)
    ]
    for name in ("a.svg", "b.svg"):
        curves.draw(curve, points, tmp_path / "new" / name)
    drawn = (tmp_path / "new" / "a.svg").read_text()
    assert drawn == (tmp_path / "new" / "b.svg").read_text()
    assert ">pscl<" in drawn
    assert ">lpd<" in drawn
    assert ">cam<" not in drawn, "nothing is finished of it"
    curves.draw(curve, points[:-1], tmp_path / "new" / "b.svg")
    assert drawn != (tmp_path / "new" / "b.svg").read_text()
    assert curves.markdown(curve, points).splitlines()[2] == "| pscl | 1 | 2 | 0.310 [0.200, 0.700] |"


# The stand-in for texts


def test_stand_in_vectors__are_those_of_the_names_alone(tmp_path):
    path = tmp_path / "vectors.npz"
    text_vectors.write_stand_in(path, NAMES)
    found = read_vectors(path, NAMES[::-1])
    again = text_vectors.hashed(["Tumor", "tumor", "Tumour"], text_vectors.CLASS_DIM)
    np.testing.assert_allclose(found.classes[2], again[0], rtol=1e-5)
    np.testing.assert_allclose(again[0], again[1])
    assert 0.3 < float(again[0] @ again[2]) < 0.95, "names that share letters are alike"
    assert abs(float(found.classes[0] @ found.classes[1])) < 0.2
    preset = methods()["tpro"].changes
    assert found.classes.shape[1] == preset["model.prototype_dim"]
    assert found.knowledge.shape[1] == preset["model.knowledge_dim"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_comparison__runs_goes_on_and_refuses_other_settings(tmp_path):
    def run(*more):
        command = [
            sys.executable, str(ROOT / "benchmarks" / "methods.py"), "--out", str(tmp_path), "--size", "tiny",
            "--table", "methods", "--rows", "cam,lpd,cam+decoder", "--seeds", "1", "--jobs", "2", "--device", "cpu",
            *more,
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)

    first = run()
    assert first.returncode == 0, first.stderr
    assert "lpd - cam" in first.stdout
    assert "| cam+decoder | none |" in first.stdout
    assert "0 runs to do" not in first.stderr
    stored = json.loads((tmp_path / "results" / "synthetic-lpd-0.json").read_text())
    images = stored["scored"]["none"]["oracle"]["images"]
    assert len(images) == 4 * SIZES["tiny"].n_held_out
    assert len({image["group"] for image in images}) == SIZES["tiny"].n_held_out
    assert stored["peak_mb"] > 100
    assert stored["training"]["seconds_per_epoch"] > 0
    assert (tmp_path / "table.md").read_text().strip() == first.stdout.strip()
    again = run()
    assert "0 runs to do" in again.stderr
    assert again.stdout == first.stdout
    other = run("--steps", "3")
    assert other.returncode == 1
    assert "made with other settings" in other.stderr
    assert str(tmp_path) not in first.stdout


# A share of the labels


def test_a_share_of_the_labels__is_always_the_same_and_finds_its_stores_from_anywhere(tmp_path):
    table = tmp_path / "patches" / "patches.csv"
    table.parent.mkdir()
    table.write_text("store,index,Tumor\n" + "".join(f"one.zarr,{i},{i % 2}\n" for i in range(20)))
    for name in ("first.csv", "second.csv"):
        cohorts.write_share(table, tmp_path / name, 0.25)
    header, *rows = (tmp_path / "first.csv").read_text().splitlines()
    assert header == "store,index,Tumor"
    assert len(rows) == 5
    assert len({row.split(",")[1] for row in rows}) == 5
    for row in rows:
        store, index, label = row.split(",")
        assert Path(store) == table.parent.resolve() / "one.zarr"
        assert int(label) == int(index) % 2
    assert (tmp_path / "second.csv").read_text() == (tmp_path / "first.csv").read_text()
