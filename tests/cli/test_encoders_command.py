"""`wsi-lpd encoders`: what there is, under which licence, and what to do to have it."""

from __future__ import annotations

import json

import huggingface_hub
import pytest
from hub_folders import hub_folder
from typer.testing import CliRunner

from wsi_lpd.models.encoders.catalogue import CATALOGUE
from wsi_lpd_cli.main import app


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def run(*words):
    result = CliRunner().invoke(app, ["encoders", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_list__names_licence_gate_and_what_is_here(cache):
    snapshot = cache / "models--paige-ai--Virchow" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (snapshot / "pytorch_model.bin").write_bytes(b"")
    (cache / "models--paige-ai--Virchow" / "refs").mkdir()
    (cache / "models--paige-ai--Virchow" / "refs" / "main").write_text("0123abcd")
    status, out, _ = run()
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("hf-hub:")}
    assert len(lines) == len(CATALOGUE)
    assert lines["hf-hub:paige-ai/Virchow"].split()[-3:] == ["Apache-2.0", "yes", "yes"]
    assert lines["hf-hub:MahmoodLab/UNI"].split()[-3:] == ["CC-BY-NC-ND-4.0", "yes", "no"]
    assert lines["hf-hub:histai/hibou-b"].split()[-3:] == ["Apache-2.0", "no", "no"]
    rows = json.loads(run("--json")[1])["encoders"]
    local = {row["name"]: row["local"] for row in rows}
    assert local["hf-hub:paige-ai/Virchow"].endswith("pytorch_model.bin")
    assert local["hf-hub:MahmoodLab/UNI"] is None


def test_one_encoder__is_told_with_stages_statistics_licence_and_the_way_to_it():
    status, out, _ = run("hf-hub:bioptimus/H-optimus-0")
    assert status == 0
    for part in (
        "0 to 39: 1536 channels, stride 14 px",
        "[19, 29, 39]",
        "0.7072, 0.5787, 0.7036; 0.2119, 0.2301, 0.1775",
        "Apache-2.0",
        "https://huggingface.co/bioptimus/H-optimus-0",
        "hf download bioptimus/H-optimus-0 --local-dir H-optimus-0",
        "--set model.weights=H-optimus-0",
    ):
        assert part in out


def test_a_timm_name__shows_the_strides_that_training_gets():
    status, out, _ = run("pvt_v2_b0")
    assert status == 0
    assert "2: 160 channels, stride 16 px, 3: 256 channels, stride 16 px" in out
    assert "--set model.weights=timm downloads them" in out
    facts = json.loads(run("resnet18", "--json")[1])
    assert [stage["stride_px"] for stage in facts["stages"]] == [2, 4, 8, 16, 16]
    assert facts["input_px"] == [224, 224]


def test_a_folder__is_told_as_the_hub_is(tmp_path):
    folder = hub_folder(tmp_path / "net", "vit")
    facts = json.loads(run(folder, "--json")[1])
    assert facts["mean"] == [0.7, 0.55, 0.65]
    assert facts["licence"] == "cc-by-4.0"
    assert facts["local"] == str(folder / "model.safetensors")


def test_an_unknown_name__is_one_line_and_status_1():
    status, out, err = run("virchow2")
    assert (status, out) == (1, "")
    assert "did you mean hf-hub:paige-ai/Virchow2?" in err
    assert len(err.strip().splitlines()) == 1
