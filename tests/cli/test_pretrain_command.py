"""`wsi-lpd pretrain` from patches to weights, and what it says."""

from __future__ import annotations

import json

import pytest
from dots_and_stripes import write_patches
from typer.testing import CliRunner

from wsi_lpd_cli.main import app

SETTINGS = ["pretrain.max_steps=2", "pretrain.batch_size=6", "pretrain.projector_dim=16", "train.workers=0"]


@pytest.fixture
def pretrain(tmp_path):
    def run(*arguments):
        settings = [word for setting in SETTINGS for word in ("--set", setting)]
        words = ["pretrain", *arguments, "--out", tmp_path / "start", "--device", "cpu", *settings]
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


def test_weights__are_made_once_and_named_for_train(tmp_path, pretrain):
    labels = write_patches(tmp_path, ("dots", "stripes"), [("", "")] * 7, side=36)
    first, again = pretrain(labels, "--json"), pretrain(tmp_path, "--json")
    assert first.exit_code == again.exit_code == 0, first.output
    assert "7 patches of 4 slides or images, regnety_002" in first.stderr
    assert f"use it with --set model.weights={tmp_path / 'start'}" in first.stderr
    assert (tmp_path / "start" / "model.safetensors").is_file()
    told, told_again = json.loads(first.stdout), json.loads(again.stdout)
    assert told == {"weights": str(tmp_path / "start"), "was_finished": False, "metrics": told["metrics"]}
    assert told["metrics"].keys() == {"loss", "feature_std"}
    assert told_again == told | {"was_finished": True}
    assert "already finished; use another --out" in again.stderr


def test_bad_input__is_one_line_and_status_1(tmp_path, pretrain):
    done = pretrain(tmp_path / "nothing.zarr")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [f"error: {tmp_path / 'nothing.zarr'}: no such store, file or folder"]
    assert not (tmp_path / "start").exists()
