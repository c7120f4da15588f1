"""`wsi-lpd evaluate --model` from a folder of images to the files it leaves."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from random_run import image_folder, random_run
from typer.testing import CliRunner

from wsi_lpd.config import SegmentConfig
from wsi_lpd.evaluation.model import evaluate_model
from wsi_lpd.evaluation.true_images import open_true_folder
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd_cli.main import app

DATA = "TUM,STR,Fat"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_run(tmp_path_factory.mktemp("run") / "r")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("images") / "val")


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_json__holds_what_the_library_counts_and_keeps_the_oracle_apart(model, images, tmp_path):
    options = ("--classes", DATA, "--slide-mpp", 0.5, "--gate", "all", "--protocol", "all", "--device", "cpu")
    result = run(
        "--model", model, "--truth", images, *options, "--draws", 100, "--out", tmp_path / "o", "--json",
        "--set", "segment.overlap=0.25",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert set(summary["gates"]) == {"none", "predicted"}
    assert set(summary["ceiling"]) == {"oracle"}
    predictor = Predictor.load(model, torch.device("cpu"))
    folder = open_true_folder(
        images, classes=("Stroma", "Tumor", "Fat"), model_mpp=0.5, named=DATA.split(","), image_mpp=0.5
    )
    reports = evaluate_model(
        predictor, folder, gates=("none", "predicted", "oracle"), config=SegmentConfig(overlap=0.25)
    )
    for gate, values in (*summary["gates"].items(), *summary["ceiling"].items()):
        assert values["protocols"] == json.loads(json.dumps(reports[gate].to_json("ABCD", draws=100)["protocols"]))
        assert values["gate"]["name"] == gate
        assert values["n_groups"] == 2
        assert values["protocols"]["A"]["intervals"]["n_groups"] == 2
    assert summary["image_level"]["n_images"] == 3
    assert json.loads((tmp_path / "o" / "metrics.json").read_text()) == summary
    with (tmp_path / "o" / "per_image.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 9
    assert (tmp_path / "o" / "confusion.png").stat().st_size > 1000


def test_text__says_gate_refinement_and_that_the_oracle_is_no_result(model, images):
    result = run("--model", model, "--truth", images, "--classes", DATA, "--gate", "all", "--refine", "guided")
    assert result.exit_code == 0, result.stderr
    before, heading, after = result.stdout.partition("=== CEILING, NOT A RESULT")
    assert heading
    assert "gate none, refinement guided" in before
    assert "gate predicted, refinement guided" in before
    assert "gate oracle" not in before
    assert "gate oracle, refinement guided" in after
    assert "gate predicted" not in after
    assert "expected calibration error" in after
    assert "um per pixel unknown" in result.stderr
    default = run("--model", model, "--truth", images, "--classes", DATA)
    assert "gate predicted, refinement none" in default.stdout
    assert "oracle, refinement" not in default.stdout
    assert "CEILING" not in default.stdout


def test_refinement__changes_the_maps(model, images):
    reports = [
        json.loads(run("--model", model, "--truth", images, "--classes", DATA, "--json", *more).stdout)
        for more in ((), ("--refine", "pamr"), ("--set", "segment.refine=pamr"))
    ]
    counts = [r["gates"]["predicted"]["protocols"]["B"]["confusion"] for r in reports]
    assert counts[0] != counts[1]
    assert counts[1] == counts[2]


def test_one_group__is_told(model, images):
    options = ("--classes", DATA, "--group-by", "(patient)", "--protocol", "B")
    result = run("--model", model, "--truth", images, *options)
    assert "no interval: all images are of one group" in result.stdout
    without = run("--model", model, "--truth", images, *options, "--draws", 0)
    assert "interval" not in without.stdout


def test_what_does_not_go_together__is_a_usage_error(model, images, tmp_path):
    assert run("--truth", images).exit_code == 2
    assert run(images, "--model", model, "--truth", images).exit_code == 2
    for option in (("--refine", "pamr"), ("--images", images), ("--slide-mpp", 1), ("--gate", "oracle")):
        assert run(images, "--truth", images, *option).exit_code == 2
    assert run("--model", model, "--truth", images, "--gate", "label").exit_code == 2
    result = run("--model", tmp_path / "none", "--truth", images, "--classes", DATA)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    result = run("--model", model, "--truth", images, "--classes", "Tumor,Stroma")
    assert result.exit_code == 1
    assert "expected the model's in any order: Stroma, Tumor, Fat" in result.stderr
