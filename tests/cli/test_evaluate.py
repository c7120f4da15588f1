from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from wsi_lpd.evaluate.evaluation import evaluate_maps
from wsi_lpd.evaluate.read import CODINGS
from wsi_lpd_cli.evaluate import CodingChoice
from wsi_lpd_cli.main import app

TRUTH = np.array([[1, 1, 2, 0, 0], [1, 2, 2, 0, 2], [0, 0, 0, 0, 2]], dtype=np.uint8)
PREDICTION = np.array([[1, 1, 2, 1, 0], [1, 1, 2, 0, 2], [0, 0, 2, 0, 2]], dtype=np.uint8)


@pytest.fixture
def files(tmp_path):
    for name, pixels in (("t", TRUTH), ("p", PREDICTION)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return [str(tmp_path / "p.png"), "--truth", str(tmp_path / "t.png")]


def run(*arguments: str):
    return CliRunner().invoke(app, ["evaluate", *arguments])


def test_evaluate__json_is_one_object_on_stdout(files):
    result = run(*files, "--classes", "Tumor,Stroma", "--json")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["classes"] == ["Tumor", "Stroma"]
    assert set(summary["protocols"]) == {"A", "B"}
    for name in ("A", "B"):
        expected = evaluate_maps(PREDICTION, TRUTH, ("Tumor", "Stroma"), protocol=name)
        assert summary["protocols"][name]["miou"] == expected.miou
        assert summary["protocols"][name]["per_class"]["Stroma"]["dice"] == expected.classes[1].dice


def test_evaluate__table_names_the_protocol_and_shows_the_numbers(files):
    result = run(*files, "--classes", "Tumor,Stroma", "--protocol", "B")
    assert result.exit_code == 0
    assert "protocol B: true background counts" in result.stdout
    assert "protocol A" not in result.stdout
    expected = evaluate_maps(PREDICTION, TRUTH, ("Tumor", "Stroma"), protocol="B")
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert lines["mean"][1] == f"{expected.miou:.4f}"
    assert lines["background"] == ["background", "5", "1", "1"]


def test_evaluate__failures_are_one_line_and_status_one(files, tmp_path):
    result = run(str(tmp_path / "none.png"), *files[1:])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "no such file" in result.stderr
    assert result.stdout == ""


def test_evaluate__unknown_words_are_usage_errors(files):
    assert run(*files, "--protocol", "C").exit_code == 2
    assert run(*files, "--coding", "x").exit_code == 2
    assert run(*files, "--classes", "A,,B").exit_code == 2
    assert run(files[0]).exit_code == 2


def test_evaluate__offers_every_coding():
    assert {choice.value for choice in CodingChoice} == set(CODINGS)
