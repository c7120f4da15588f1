"""The second stage as a user runs it: masks, a decoder on them, a map of a slide and scores; kills and wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dots_and_stripes import write_patches
from qupath_rules import check_overlay_file
from random_run import image_folder
from small_run import SMALL
from tiny_slides import tissue_pixels, write_svs
from typer.testing import CliRunner

from wsi_lpd.models.saved.card import load_card
from wsi_lpd.pseudo_masks import job
from wsi_lpd.stores.masks import MaskStore
from wsi_lpd_cli.main import app

SETTINGS = [word for setting in [*SMALL, "tile.mpp=1.0", "train.epochs=1"] for word in ("--set", setting)]
DECODER = ["--set", "method=decoder", "--set", "decoder.width=32"]
QUICK = ["--set", "masks.views=2", "--device", "cpu"]


def run(*words, status=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
    return result


def summary(*words):
    return json.loads(run(*words, "--json").stdout)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with labelled patches, a first stage, its masks, and a second stage that begins with its encoder."""
    folder = tmp_path_factory.mktemp("work")
    labels = [[(1, 0), (0, 1), (1, 1), (0, 1)][i % 4] for i in range(26)]
    labels[5] = ("", 1)
    csv = write_patches(folder, ("dots", "stripes"), labels, side=48)
    run("train", "--labels", csv, "--out", folder / "first", *SETTINGS, "--device", "cpu")
    run("pseudo-mask", "--labels", csv, "--model", folder / "first", "--out", folder / "masks", *QUICK)
    run("train", "--labels", csv, "--masks", folder / "masks", "--out", folder / "second", *SETTINGS, *DECODER,
        "--set", f"model.weights={folder / 'first'}", "--device", "cpu")  # fmt: skip
    return folder


def test_masks__hold_every_patch_and_obey_its_labels(work):
    store = MaskStore.open(work / "masks")
    assert (len(store), store.meta.classes, store.meta.weights) == (26, ("dots", "stripes"), (1.0,))
    for i, layers in enumerate(store):
        allowed = [{0, 1, 255}, {0, 2, 255}, {0, 1, 2, 255}, {0, 2, 255}][i % 4]
        assert set(np.unique(layers[0])) <= (allowed if i != 5 else {0, 2, 255})
    assert (work / "masks" / "masks.png").stat().st_size > 10_000
    assert not (work / "masks.lock").exists()


def test_the_summary__is_what_the_table_adds_up_to(work):
    told = summary(
        "pseudo-mask", "--labels", work / "labels.csv", "--model", work / "first", "--out", work / "masks", *QUICK
    )
    assert told["was_finished"]
    rows = MaskStore.open(work / "masks").rows
    assert told["n_patches"] == len(rows)
    assert told["judged"] == pytest.approx(np.mean([row.judged for row in rows]), abs=1e-3)
    assert sum(told["shares"].values()) == pytest.approx(1)
    assert list(told["shares"]) == ["background", "dots", "stripes"]
    of_stripes = sum(row.shares[2] for row in rows) / sum(sum(row.shares) for row in rows)
    assert told["shares"]["stripes"] == pytest.approx(of_stripes, abs=1e-3)


def test_the_card_of_a_decoder__says_what_it_is_and_began_with(work):
    card = load_card(work / "second")
    assert (card.method, card.config.model.prototypes) == ("decoder", "none")
    assert card.encoder.weights.startswith("run first, lpd (sha256:")
    assert "background_moved" in load_card(work / "first").metrics
    assert "background_moved" not in card.metrics  # where masks never say background it would take half of the tissue
    assert not (work / "second" / "prototypes.png").exists()
    header, *lines = (work / "second" / "metrics.csv").read_text().splitlines()
    assert float(lines[0].split(",")[header.split(",").index("masks")]) > 0
    told = run("prototypes", "--model", work / "second", "--labels", work / "labels.csv", status=1)
    assert "of method decoder, which has no prototypes" in told.stderr


def test_either_model__makes_a_map_and_a_decoder_is_not_gated(work, tmp_path):
    slide = write_svs(tmp_path / "s.svs", tissue_pixels(700, 500), mpp=1.0)
    options = ["--set", "segment.tissue.preset=everything", "--simplify", 0, "--device", "cpu"]
    for stage in ("first", "second"):
        for gate in ("auto", "predicted", "none"):
            out = tmp_path / f"{stage}-{gate}.geojson"
            run("segment", slide, "--model", work / stage, "--out", out, "--gate", gate, *options)
            assert check_overlay_file(out) == []

    def regions(name):
        return json.loads((tmp_path / f"{name}.geojson").read_text())["features"]

    assert regions("second-auto") == regions("second-none")
    assert regions("first-auto") == regions("first-predicted")


def test_evaluate__takes_either_model(work, tmp_path):
    images = image_folder(tmp_path / "val", n_images=2, n_values=3)
    options = ["--classes", "dots,stripes", "--slide-mpp", 1.0, "--draws", 0, "--device", "cpu"]
    for stage, gate in (("first", "predicted"), ("second", "none")):
        told = summary("evaluate", "--model", work / stage, "--truth", images, *options)
        assert list(told["gates"]) == [gate]
        assert told["image_level"]["n_images"] == 2


def test_the_same_training_again__does_nothing_and_other_masks_are_another_run(work, tmp_path):
    words = ["train", "--labels", work / "labels.csv", "--out", work / "second", *SETTINGS, *DECODER,
             "--set", f"model.weights={work / 'first'}", "--device", "cpu"]  # fmt: skip
    assert summary(*words, "--masks", work / "masks")["was_finished"]
    other = tmp_path / "other"
    run("pseudo-mask", "--labels", work / "labels.csv", "--model", work / "first", "--out", other, *QUICK,
        "--set", "masks.confidence=0.6")  # fmt: skip
    assert "holds a run with another masks" in run(*words, "--masks", other, status=1).stderr


def test_masks_that_were_interrupted__are_gone_on_with_to_the_same_bytes(work, tmp_path, monkeypatch):
    words = ["pseudo-mask", "--labels", work / "labels.csv", "--model", work / "first", *QUICK]
    for module in ("wsi_lpd.stores.masks", "wsi_lpd.stores.masks_writer"):
        monkeypatch.setattr(f"{module}.SHARD_PATCHES", 6)
    run(*words, "--out", tmp_path / "whole")
    seen, real = [], job._masks_of

    def counted(maker, table, rows):
        if isinstance(rows, range):  # a shard; the rows of the picture are a list
            if len(seen) == 2:
                raise KeyboardInterrupt
            seen.append(rows.start)
        return real(maker, table, rows)

    monkeypatch.setattr(job, "_masks_of", counted)
    assert "go on" in run(*words, "--out", tmp_path / "stopped", status=130).stderr
    assert not (tmp_path / "stopped").exists()
    seen[:] = []
    run(*words, "--out", tmp_path / "stopped", status=130)
    assert seen == [12, 18]
    seen[:] = []
    run(*words, "--out", tmp_path / "stopped")
    assert seen == [24]
    files = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*") if p.is_file())
    assert len(files) >= 9
    for file in files:
        assert (tmp_path / "stopped" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_pass__takes_as_many_patches_as_asked(work, tmp_path, monkeypatch):
    sizes, real = [], job.MaskMaker.masks

    def counted(maker, windows, *rest, **named):
        sizes.append(len(windows))
        return real(maker, windows, *rest, **named)

    monkeypatch.setattr(job.MaskMaker, "masks", counted)
    words = ["pseudo-mask", "--labels", work / "labels.csv", "--model", work / "first", "--out", tmp_path / "m", *QUICK]
    told = summary(*words, "--set", "masks.batch_size=7")
    assert max(sizes) == 7
    assert sum(sizes) >= told["n_patches"]
    assert summary(*words, "--set", "masks.batch_size=3")["was_finished"]


@pytest.mark.slow
def test_masks_that_were_killed__are_those_of_an_undisturbed_call(work, tmp_path):
    program = Path(sys.executable).with_name("wsi-lpd")
    csv = write_patches(tmp_path, ("dots", "stripes"), [(1, i % 2) for i in range(1100)], side=48)
    words = [program, "pseudo-mask", "--labels", csv, "--model", work / "first", *QUICK]
    process = subprocess.Popen([*words, "--out", tmp_path / "killed"], stderr=subprocess.DEVNULL)
    shards = tmp_path / "killed.partial" / "masks" / "c"
    deadline = time.monotonic() + 300
    while not shards.is_dir() or len(list(shards.iterdir())) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for name in ("killed", "undisturbed"):
        subprocess.run([*words, "--out", tmp_path / name], check=True, capture_output=True)
    for file in (p for p in (tmp_path / "undisturbed").rglob("*") if p.is_file()):
        assert (tmp_path / "killed" / file.relative_to(tmp_path / "undisturbed")).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "--masks", "{work}/masks", "--out", "r"], "add --set method=decoder"),
        (["train", *DECODER, "--out", "r"], "make them with `wsi-lpd pseudo-mask`"),
        (["train", *DECODER, "--masks", "{work}", "--out", "r"], "holds no masks"),
        (["train", *DECODER, "--masks", "{work}/masks", "--classes", "stripes,dots", "--out", "r"], "of the classes"),
        (["train", *DECODER, "--masks", "{work}/masks", "--set", "model.encoder=resnet18", "--set",
          "model.weights={work}/first", "--out", "r"], "set model.encoder=regnety_002"),
        (["pseudo-mask", "--model", "{work}/first", "--out", "{work}/first"], "exists and is not a folder of masks"),
        (["pseudo-mask", "--model", "{work}/second", "--out", "{work}/masks"], "holds other masks (model: second"),
        (["pseudo-mask", "--model", "{work}/masks", "--out", "m"], "holds no model.json"),
        (["pseudo-mask", "--model", "{work}/first", "--set", "masks.views=3", "--out", "m"], "masks.views"),
    ],
)  # fmt: skip
def test_wrong_input__is_one_clear_line_and_status_1(work, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    command, *others = [word.format(work=work) for word in words]
    rest = [*(SETTINGS if command == "train" else []), "--device", "cpu"]
    result = run(command, "--labels", work / "labels.csv", *rest, *others, status=1)
    assert told in result.stderr
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_masks_of_fewer_patches__are_refused(work, tmp_path):
    csv = work / "more.csv"
    csv.write_text((work / "labels.csv").read_text() + "extra.png,slide-1,1,0\n")
    (work / "extra.png").write_bytes((work / "p3.png").read_bytes())
    told = run(
        "train", "--labels", csv, "--masks", work / "masks", "--out", tmp_path / "r", *SETTINGS, *DECODER, status=1
    )
    assert "have no mask, such as" in told.stderr
    assert not (tmp_path / "r").exists()
