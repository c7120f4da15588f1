"""Pretraining as a whole: it learns, its weights are what training starts from, it resumes exactly."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from killed_run import KilledError, Killer
from safetensors.torch import load_file, save_file
from short import SHORT

from wsi_lpd.config import load_config
from wsi_lpd.errors import ModelError, TrainingError
from wsi_lpd.models.encoders.build import build_encoder
from wsi_lpd.models.saved.card import load_card
from wsi_lpd.pretraining.run import pretrain
from wsi_lpd.training.run.job import load_training_data, train


def pretrain_in(folder, table, settings=(), **options):
    return pretrain(table, load_config(None, [*SHORT, *settings]), out=folder, device="cpu", **options)


def read_metrics(folder):
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def columns(folder):
    rows = read_metrics(folder)
    return [[float(row[name]) for row in rows] for name in ("loss", "feature_std", "projected_std")]


LONGER = ["pretrain.batch_size=24", "pretrain.epochs=40", "pretrain.projector_dim=16", "pretrain.learning_rate=1e-2"]


@pytest.fixture(scope="module")
def undisturbed(table, tmp_path_factory):
    return pretrain_in(tmp_path_factory.mktemp("undisturbed") / "start", table).path


def test_it_learns__and_features_do_not_collapse(table, tmp_path):
    done = pretrain_in(tmp_path, table, LONGER)
    losses, spreads, projected = columns(tmp_path)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert min(spreads) > 0.5
    assert min(projected[-5:]) > 0.6
    assert done.metrics == {"loss": pytest.approx(losses[-1], rel=1e-4), "feature_std": pytest.approx(spreads[-1])}


def test_without_its_guards__it_collapses_and_the_log_shows_it(table, tmp_path):
    pretrain_in(tmp_path, table, [*LONGER, "pretrain.variance=0", "pretrain.covariance=0"])
    _, _, projected = columns(tmp_path)
    assert max(projected[-5:]) < 0.5 * projected[0]


def test_metrics__have_a_line_per_logged_step_and_the_last(table, tmp_path, undisturbed):
    rows = read_metrics(undisturbed)
    assert [(int(row["step"]), int(row["epoch"])) for row in rows] == [(i + 1, i // 3 + 1) for i in range(9)]
    assert all(
        float(row[name]) > 0 for row in rows for name in ("learning_rate", "loss", "feature_std", "patches_per_s")
    )
    assert len({row["learning_rate"] for row in rows}) > 5
    pretrain_in(tmp_path, table, ["train.log_every=4", "pretrain.max_steps=6"])
    assert [int(row["step"]) for row in read_metrics(tmp_path)] == [4, 6]


def test_the_weights__are_those_training_starts_from(undisturbed, patches_csv, tmp_path):
    config = load_config(None, [*SHORT, f"model.weights={undisturbed}", "train.max_steps=1", "train.report=false",
                                "train.batch_size=4", "train.learning_rate=1e-12"])  # fmt: skip
    run = train(load_training_data([patches_csv], [], config), config, runs_dir=tmp_path, device="cpu").path
    pretrained, trained = load_file(undisturbed / "model.safetensors"), load_file(run / "model.safetensors")
    matrices = [key for key, value in pretrained.items() if value.ndim > 1]
    assert len(matrices) > 10
    for key in matrices:
        torch.testing.assert_close(trained[f"encoder.body.{key}"], pretrained[key], rtol=0, atol=1e-9)
    told = load_card(run).encoder.weights
    assert told.startswith("start/model.safetensors (sha256:")
    assert told.endswith("VICReg, 9 steps of 8 from 26 patches of 48 px at 0.5 um/px, seed 0; started from: random")


def test_a_start_from_weights__keeps_what_they_are_normalised_by_and_their_licence(undisturbed, table, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes((undisturbed / "model.safetensors").read_bytes())
    card = {"mean": [0.7, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "license": "cc-by-nc-4.0"}
    (base / "config.json").write_text(json.dumps({"architecture": "test_resnet", "pretrained_cfg": card}))
    settings = [f"model.weights={base}", "pretrain.max_steps=1", "pretrain.learning_rate=1e-12"]
    pretrain_in(tmp_path / "start", table, settings)
    encoder = build_encoder("test_resnet", weights=str(tmp_path / "start"), scales=(2, 4))
    assert (encoder.mean, encoder.std, encoder.licence) == ((0.7, 0.5, 0.6), (0.2, 0.25, 0.3), "cc-by-nc-4.0")
    assert "started from: base/model.safetensors (sha256:" in encoder.weights
    for name, expected in load_file(base / "model.safetensors").items():
        if expected.ndim > 1:
            torch.testing.assert_close(encoder.body.state_dict()[name], expected, rtol=0, atol=1e-9)


def test_an_encoder_named_by_a_folder__gives_a_folder_that_names_it(table, tmp_path):
    torch.manual_seed(3)
    shallow = timm.create_model("test_vit", depth=2, num_classes=0)
    (tmp_path / "base").mkdir()
    save_file(shallow.state_dict(), tmp_path / "base" / "model.safetensors")
    about = {"architecture": "test_vit", "model_args": {"depth": 2}, "pretrained_cfg": {"license": "mit"}}
    (tmp_path / "base" / "config.json").write_text(json.dumps(about))
    settings = [f"model.encoder={tmp_path / 'base'}", "model.scales=[0, 1]", "pretrain.max_steps=1",
                "pretrain.learning_rate=1e-12"]  # fmt: skip
    pretrain_in(tmp_path / "start", table, settings)
    encoder = build_encoder(str(tmp_path / "start"), weights=str(tmp_path / "start"), scales=(0, 1))
    assert encoder.licence == "mit"
    assert encoder.channels == (64, 64)
    for name, expected in encoder.body.state_dict().items():
        torch.testing.assert_close(expected, shallow.state_dict()[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_killed_run__ends_as_an_undisturbed_one(undisturbed, table, tmp_path, after):
    with pytest.raises(KilledError):
        pretrain_in(tmp_path, table, progress=Killer(after))
    assert not (tmp_path / "config.json").exists()
    assert not pretrain_in(tmp_path, table).was_finished
    assert (tmp_path / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    assert (tmp_path / "config.json").read_text() == (undisturbed / "config.json").read_text()
    timeless = [
        [{k: v for k, v in row.items() if k not in ("patches_per_s", "data_wait")} for row in read_metrics(folder)]
        for folder in (tmp_path, undisturbed)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_kill_9__then_the_same_command(undisturbed, patches_csv, tmp_path):
    program = Path(sys.executable).with_name("wsi-lpd")
    settings = [word for setting in SHORT for word in ("--set", setting)]
    command = [program, "pretrain", patches_csv, "--out", tmp_path / "start", "--device", "cpu", *settings]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    metrics, deadline = tmp_path / "start" / "metrics.csv", time.monotonic() + 120
    while not metrics.is_file() or len(metrics.read_text().splitlines()) <= 4:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "start" / "config.json").exists()
    subprocess.run(command, check=True, capture_output=True)
    killed, whole = ((folder / "model.safetensors").read_bytes() for folder in (tmp_path / "start", undisturbed))
    assert killed == whole


def test_another_seed__gives_other_weights_and_other_batches(undisturbed, table, tmp_path):
    pretrain_in(tmp_path, table, ["train.seed=1"])
    assert (tmp_path / "model.safetensors").read_bytes() != (undisturbed / "model.safetensors").read_bytes()


def test_finished_weights__are_left_alone(undisturbed, table):
    before = (undisturbed / "model.safetensors").stat().st_mtime_ns
    without_part = ["train.epochs=3", "tile.min_tissue=0.1", "method=cam", "model.prototypes_per_class=1",
                    "model.frozen=true", "train.log_every=3"]  # fmt: skip
    again = pretrain_in(undisturbed, table, without_part)
    assert again.was_finished
    assert again.metrics["loss"] == pytest.approx(float(read_metrics(undisturbed)[-1]["loss"]), rel=1e-4)
    assert (undisturbed / "model.safetensors").stat().st_mtime_ns == before
    assert not list(undisturbed.glob("training.pt"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["pretrain.views.crop=0.5"], r"another configuration \(pretrain\.views\.crop 0\.3, now 0\.5\)"),
        (["model.encoder=resnet10t"], r"another configuration \(model\.encoder test_resnet, now resnet10t\)"),
        (["train.seed=4"], r"train\.seed 0, now 4"),
        (["tile.mpp=0.25"], r"another patches \(48 px at 0\.5 um/px, now 48 px at 0\.25 um/px\)"),
    ],
)
def test_the_folder_of_other_weights__is_refused(undisturbed, table, change, told):
    with pytest.raises(TrainingError, match=told):
        pretrain_in(undisturbed, table, change)


def test_other_patches__are_not_gone_on_with(undisturbed, table):
    with pytest.raises(TrainingError, match=r"another pretraining data\. Choose another --out"):
        pretrain_in(undisturbed, table.subset(range(25)))


def test_what_cannot_start__is_told_and_leaves_nothing(table, tmp_path, monkeypatch):
    out = tmp_path / "start"
    with pytest.raises(TrainingError, match="found 1, expected at least 2"):
        pretrain_in(out, table.subset([3]))
    with pytest.raises(ModelError, match="--device abacus: not available"):
        pretrain(table, load_config(None, SHORT), out=out, device="abacus")
    with pytest.raises(ModelError, match="timm has no model 'resnet5000'"):
        pretrain_in(out, table, ["model.encoder=resnet5000"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="in one process; start it without torchrun"):
        pretrain_in(out, table)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setitem(sys.modules, "lightly.loss", None)
    with pytest.raises(TrainingError, match=r"needs the package lightly.*pip install 'wsi-lpd\[pretrain\]'"):
        pretrain_in(out, table)
    assert not out.exists()


def test_a_folder_with_other_things__is_refused(table, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(TrainingError, match="is not empty and no run of ours"):
        pretrain_in(tmp_path, table)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_loss_that_is_not_finite__is_told_and_no_weights_are_written(table, tmp_path):
    with pytest.raises(TrainingError, match=r"step \d: the loss is not finite; lower pretrain\.learning_rate"):
        pretrain_in(tmp_path, table, ["pretrain.learning_rate=1e30", "pretrain.warmup=0"])
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"step": 1, "model": torch.zeros(2)}, "is no state of pretraining: it has no 'network'"),
        ({"step": 1, "network": {"encoder": torch.zeros(2)}}, "is the state of another network"),
    ],
)
def test_a_foreign_state__is_told_and_not_trusted(table, tmp_path, state, told):
    with pytest.raises(KilledError):
        pretrain_in(tmp_path, table, progress=Killer(3))
    torch.save(state, tmp_path / "training.pt")
    with pytest.raises(TrainingError, match=rf"training\.pt: .*{told}.*remove it to start the run over"):
        pretrain_in(tmp_path, table)


def test_one_patch_more_than_a_batch__is_left_to_other_epochs(table, tmp_path):
    few = replace(table.subset(range(9)))
    pretrain_in(tmp_path, few)
    assert [int(row["step"]) for row in read_metrics(tmp_path)] == [1, 2, 3]
