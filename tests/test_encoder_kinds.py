"""Every kind of encoder trains on the patches of a slide and segments it, from a folder as the hub has it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hub_folders import MEAN, STD, hub_folder
from qupath_rules import check_overlay_file
from typer.testing import CliRunner

from wsi_lpd.models.saved.card import load_card
from wsi_lpd.models.saved.load import load_network
from wsi_lpd.overlay.raster.mask import read_mask
from wsi_lpd.synthetic import SYNTHETIC_CLASSES, write_synthetic_slide
from wsi_lpd.types import Size
from wsi_lpd_cli.main import app

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SMOKE = ["--config", str(CONFIGS / "smoke.yaml")]
KINDS = {
    "vit": [],
    "vit14": [],  # its cells fit neither patch nor window
    "swin": [],
    "convnext": [],
    "resnet": [],
    "frozen-vit": ["model.frozen=true", "train.cache_features=true"],
}


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    slide = write_synthetic_slide(folder / "slides" / "one.svs", size_px=Size(1280, 1024), seed=4)
    run("tile", slide.path, "--out", folder, "--annotations", slide.truth_geojson, *SMOKE,
        "--classes", ",".join(SYNTHETIC_CLASSES))  # fmt: skip
    return folder


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_encoder__trains_and_segments_a_slide(work, tmp_path, kind):
    net = hub_folder(tmp_path / "net", kind.removeprefix("frozen-"))
    settings = [f"model.encoder={net}", "train.max_steps=12", "train.report=false", *KINDS[kind]]
    words = [word for setting in settings for word in ("--set", setting)]
    run("train", "--labels", work / "patches.csv", "--out", tmp_path / "run", *SMOKE, "--device", "cpu", *words)
    card = load_card(tmp_path / "run")
    assert (list(card.mean), list(card.std), card.encoder.licence) == (MEAN, STD, "cc-by-4.0")
    net.rename(tmp_path / "gone")  # a finished run needs nothing but itself
    network, _ = load_network(tmp_path / "run")
    np.testing.assert_allclose(network.mean.flatten(), MEAN)
    slide, overlay, mask = work / "slides" / "one.svs", tmp_path / "map.geojson", tmp_path / "map.ome.tif"
    told = json.loads(
        run("segment", slide, "--model", tmp_path / "run", "--out", overlay, "--mask", mask, *SMOKE, "--json").stdout
    )
    assert told["slides"][0]["n_regions"] > 0
    assert check_overlay_file(overlay) == []
    found = read_mask(mask).label_map
    # 1280 x 1024 px of 0.25 um at 1 um and four pixels each.
    assert found.shape == (64, 80)
    assert 0 < (found > 0).mean() < 1
