from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from wsi_lpd.evaluation.evaluation import evaluate_maps
from wsi_lpd.evaluation.protocols import GATES, PROTOCOLS
from wsi_lpd.evaluation.read import CODINGS
from wsi_lpd.prediction.refine import RefinementName
from wsi_lpd_cli.evaluate import CodingChoice, GateChoice, ProtocolChoice, RefinementChoice
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
    assert run(*files, "--protocol", "E").exit_code == 2
    assert run(*files, "--coding", "x").exit_code == 2
    assert run(*files, "--classes", "A,,B").exit_code == 2
    assert run(files[0]).exit_code == 2


def test_evaluate__every_protocol_names_its_rule_gate_and_refinement(files):
    result = run(*files, "--classes", "Tumor,Stroma", "--protocol", "all", "--json")
    summary = json.loads(result.stdout)
    assert list(summary["protocols"]) == ["A", "B", "C", "D"]
    for name, values in summary["protocols"].items():
        expected = evaluate_maps(PREDICTION, TRUTH, ("Tumor", "Stroma"), protocol=name)
        assert values["miou"] == expected.miou
        assert values["pixel_rule"]["predicted_background"] == ("not allowed" if name == "C" else "allowed")
        assert values["gate"] == values["refinement"] == "as in the files"
        assert values["intervals"] is None
        assert values["boundary"]["trimap_miou"]["3"] == pytest.approx(expected.boundary.trimap[3])
    assert "allows no predicted background" in summary["protocols"]["C"]["notes"][0]
    text = run(*files, "--classes", "Tumor,Stroma", "--protocol", "C").stdout
    assert "note: C allows no predicted background" in text
    assert "published with PBIP: the ORACLE gate" in text
    assert "no interval: all images are of one group" in text


def test_evaluate__the_width_of_the_boundary_is_chosen_and_named(files):
    wide = run(*files, "--classes", "Tumor,Stroma", "--boundary-px", "2", "--json")
    assert json.loads(wide.stdout)["protocols"]["A"]["boundary"]["width_px"] == [2, 2]
    assert "b. IoU is Boundary IoU, 1 px deep" in run(*files, "--classes", "Tumor,Stroma").stdout


def test_evaluate__out_leaves_tables_and_a_picture(files, tmp_path):
    result = run(*files, "--classes", "Tumor,Stroma", "--out", str(tmp_path / "o"), "--json")
    assert json.loads((tmp_path / "o" / "metrics.json").read_text()) == json.loads(result.stdout)
    assert {p.name for p in (tmp_path / "o").iterdir()} == {
        "metrics.json", "per_image.csv", "confusion.csv", "confusion.png",
    }  # fmt: skip


def test_evaluate__offers_every_name_that_the_library_has():
    assert {choice.value for choice in CodingChoice} == set(CODINGS)
    assert {choice.value for choice in ProtocolChoice} == {*PROTOCOLS, "both", "all"}
    assert {choice.value for choice in GateChoice} == {*GATES, "all", "auto"}
    assert {choice.value for choice in RefinementChoice} == set(get_args(RefinementName))
