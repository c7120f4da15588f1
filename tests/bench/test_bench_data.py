"""Cohorts, their stand-in texts, and what is measured on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_results import NAMES, random_maps

from benchmarks.data import SIZES, cohorts, synthetic, text_vectors
from benchmarks.methods import one_run
from benchmarks.training import losses
from wsi_lpd.config import methods
from wsi_lpd.errors import ConfigError
from wsi_lpd.evaluation.true_images import TrueImage
from wsi_lpd.methods.tpro.vectors import read_vectors


def test_the_summary_of_training__averages_seconds_not_rates():
    def line(part, rate, ratio=""):
        return {"part": part, "patches_per_s": rate, "data_wait": "0.02", "diversity_gradient_ratio": ratio}

    rows = [line("train", "100"), line("train", "50", "0.5"), line("val", ""), line("train", "25", "0.1")]
    summary = one_run.training_summary(rows, 200)
    assert summary["seconds_per_epoch"] == pytest.approx((2 + 4 + 8) / 3)
    assert summary["diversity_gradient_ratio"] == {"n": 2, "median": 0.3, "least": 0.1, "most": 0.5}


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
    parts = list(synthetic.cut_up(whole, 10))
    assert [part.name for part in parts] == ["s-0-0", "s-10-0", "s-20-0", "s-0-10", "s-10-10", "s-20-10"]
    assert {part.group for part in parts} == {"slide 7"}
    np.testing.assert_array_equal(parts[2].truth, truth[:10, 20:])
    np.testing.assert_array_equal(parts[3].pixels, whole.pixels[10:, :10])
    with pytest.raises(ValueError, match="do not fill"):
        list(synthetic.cut_up(whole, 12))


def test_every_size__cuts_its_held_out_slides_without_a_rest():
    for size in SIZES.values():
        assert size.held_out_px * synthetic.SLIDE_MPP / size.mpp % size.scored_px == 0


def test_the_loop__is_the_vectorised_loss():
    similarity, mask = losses.random_input(seed=1)
    value, gradient = losses.value_and_gradient(losses.vectorised, similarity, mask)
    expected, expected_gradient = losses.value_and_gradient(losses.looped, similarity, mask)
    assert 0.1 < float(expected) < 0.9
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5 * float(expected_gradient.abs().max()))


def test_a_cohort_of_another_size__is_refused(tmp_path):
    (tmp_path / "cohort.json").write_text('{"size": "other"}')
    with pytest.raises(ConfigError, match="choose another --out"):
        synthetic.synthetic_cohort(tmp_path, SIZES["tiny"])


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
