"""The three files: with every run, and from the command line."""

import csv
import json
import logging

import cv2
import numpy as np
import pytest
import torch
from tiny_prototypes import CLASSES, SETTINGS
from typer.testing import CliRunner

from wsi_lpd.config import load_config
from wsi_lpd.labels.sources import read_labels
from wsi_lpd.models.saved.load import load_network
from wsi_lpd.models.saved.runs import find_run
from wsi_lpd.prototypes.collect import choose_rows, collect, prototype_cosines
from wsi_lpd.training.run import report
from wsi_lpd.training.run.job import load_training_data, train
from wsi_lpd.training.run.report import patches_of_run
from wsi_lpd_cli.main import app

FILES = ("prototypes.png", "prototypes.html", "prototypes.json")


def trained(labels_csv, folder, *settings):
    config = load_config(None, [*SETTINGS, *settings])
    return train(load_training_data([labels_csv], [], config), config, runs_dir=folder, device="cpu").path


@pytest.fixture(scope="module")
def run(labels_csv, tmp_path_factory):
    return trained(labels_csv, tmp_path_factory.mktemp("runs"))


def command(*arguments):
    return CliRunner().invoke(app, ["prototypes", *map(str, arguments)])


def numbers_of(folder):
    return json.loads((folder / "prototypes.json").read_text(encoding="utf-8"))


def test_a_run__comes_with_its_prototypes(run, labels_csv):
    assert all((run / name).stat().st_size > 1000 for name in FILES)
    numbers = numbers_of(run)
    assert numbers["patches"] == "held-out patches"
    assert numbers["run"] == run.name
    held_out = load_training_data([labels_csv], [], load_config(None, SETTINGS)).validation
    assert numbers["n_patches"] == len(choose_rows(held_out, 1000))


def test_numbers__equal_recomputed_ones(run, labels_csv):
    network, card = load_network(run)
    table = load_training_data([labels_csv], [], card.config).validation
    rows = list(range(len(table)))
    figures = collect(network, table, rows, config=card.config.loss, n_examples=6, device=torch.device("cpu"))
    cosines = prototype_cosines(network)
    numbers = numbers_of(run)
    assert [c["name"] for c in numbers["classes"]] == ["Tumor", "glands & <ducts>", "Immune cells"]
    for c, told in enumerate(numbers["classes"]):
        assert told["n_pixels"] == figures[c].n_pixels
        assert told["coverage"] == (None if figures[c].coverage is None else pytest.approx(figures[c].coverage))
        for s, scale in enumerate(card.encoder.scales):
            assert np.array(told["cosine"][f"scale {scale}"]) == pytest.approx(cosines[s, c], abs=1e-9)
        if figures[c].n_pixels == 0:
            assert told["mean_correlation"] is None
            continue
        usage = [prototype["usage"] for prototype in told["prototypes"]]
        assert usage == pytest.approx(figures[c].usage)
        assert sum(usage) == pytest.approx(1)
        assert np.array(told["correlation"]) == pytest.approx(figures[c].correlation, abs=1e-6)
        pairs = [told["correlation"][i][j] for i in range(3) for j in range(i)]
        assert told["mean_correlation"] == pytest.approx(sum(pairs) / 3)
        for k, prototype in enumerate(told["prototypes"]):
            assert prototype["number"] == k + 1
            assert prototype["strong_similarity"] == pytest.approx(figures[c].strong[k])
            told_files = [example["file"] for example in prototype["examples"]]
            assert told_files == [table.sources[e.row].path.name for e in figures[c].examples[k]]
    assert sum(told["n_pixels"] for told in numbers["classes"]) > 100


def test_the_command__draws_what_the_run_came_with(run, labels_csv, tmp_path):
    done = command("--model", run, "--labels", labels_csv, "--out", tmp_path / "new", "--device", "cpu", "--json")
    assert done.exit_code == 0, done.output
    assert numbers_of(tmp_path / "new") == numbers_of(run)
    summary = json.loads(done.stdout)
    assert summary["files"] == [str(tmp_path / "new" / name) for name in FILES]
    assert {k: v for k, v in summary.items() if k != "files"} == numbers_of(run)
    assert "held-out patches" in done.stderr
    assert "Tumor: usage" in done.stderr
    height, width, _ = cv2.imread(str(tmp_path / "new" / "prototypes.png")).shape
    assert width > 1000 < height


def test_patches_and_top__limit_what_is_looked_at_and_shown(run, labels_csv, tmp_path):
    out = ("--model", run, "--labels", labels_csv, "--out", tmp_path)
    assert command(*out, "--patches", 3, "--top", 2).exit_code == 0
    few = numbers_of(tmp_path)
    assert few["n_patches"] == 3
    assert {len(p["examples"]) for c in few["classes"] for p in c["prototypes"]} <= {0, 1, 2}
    assert command(*out, "--patches", 999, "--top", 99).exit_code == 0
    every = numbers_of(tmp_path)
    assert every["n_patches"] < 21
    for told in every["classes"]:
        assert {len(p["examples"]) for p in told["prototypes"]} == {told["n_patches"]}


def test_labels_the_model_never_saw__are_all_looked_at(run, labels_csv, tmp_path):
    with labels_csv.open(newline="") as stream:
        rows = list(csv.reader(stream))
    other = labels_csv.with_name("other.csv")
    with other.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows[:9])
    assert command("--model", run, "--labels", other, "--out", tmp_path).exit_code == 0
    assert numbers_of(tmp_path)["patches"] == "labelled patches"
    assert numbers_of(tmp_path)["n_patches"] == len(choose_rows(read_labels([other]), 1000))


def test_without_a_held_out_part__training_patches_are_looked_at(labels_csv, tmp_path):
    folder = trained(labels_csv, tmp_path, "train.val_fraction=0", "train.max_steps=1")
    assert numbers_of(folder)["patches"] == "training patches"
    card = load_network(folder)[1]
    table = read_labels([labels_csv])
    assert patches_of_run(table, card) == (table, "training patches")


def test_labels_of_the_training__give_back_what_was_held_out(run, labels_csv):
    card = load_network(run)[1]
    held_out = load_training_data([labels_csv], [], card.config).validation
    table, what = patches_of_run(read_labels([labels_csv]), card)
    assert what == "held-out patches"
    assert table.sources == held_out.sources


def test_report_off__draws_nothing(labels_csv, tmp_path):
    folder = trained(labels_csv, tmp_path, "train.report=false", "train.max_steps=1")
    assert not [name for name in FILES if (folder / name).exists()]


def test_a_failure_to_draw__does_not_lose_the_run(labels_csv, tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr(report, "write_findings", fail)
    with caplog.at_level(logging.WARNING):
        folder = trained(labels_csv, tmp_path, "train.max_steps=1")
    assert find_run(tmp_path) == folder
    assert "could not be drawn (no ink); `wsi-lpd prototypes` draws them" in caplog.text


def test_no_labels__is_told(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("--model", run)
    assert done.exit_code == 1
    assert "patches.csv: no such file; name the labelled patches with --labels FILE" in done.stderr


def test_patches_csv_here__is_the_default(run, labels_csv, tmp_path, monkeypatch):
    monkeypatch.chdir(labels_csv.parent)
    (labels_csv.parent / "patches.csv").write_bytes(labels_csv.read_bytes())
    assert command("--model", run, "--out", tmp_path).exit_code == 0
    assert numbers_of(tmp_path) == numbers_of(run)


def test_labels_of_other_classes__are_refused(run, labels_csv, tmp_path):
    other = labels_csv.with_name("strange.csv")
    other.write_text("image,Bone,Fat\np0.png,1,0\n")
    done = command("--model", run, "--labels", other, "--out", tmp_path)
    assert done.exit_code == 1
    assert "has no class column" in done.stderr
    assert CLASSES[0] in done.stderr
    assert not list(tmp_path.iterdir())
