"""The demo, small: it ends in all that the README promises."""

import json
from pathlib import Path

import pytest
from qupath_rules import check_overlay_file

from wsi_lpd.demo import DemoSize, run_demo

TINY = DemoSize(
    n_slides=2,
    slide_px=2048,
    held_out_px=2048,
    settings=("train.max_steps=6", "train.batch_size=8", "train.workers=0", "model.prototype_dim=32"),
    on_processors=("train.processes=2", "train.batch_size=4"),
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    told = []
    return out, run_demo(out, TINY, device="cpu", tell=told.append), told


def test_the_demo__leaves_everything_it_promises(demo):
    out, result, told = demo
    assert len(told) == 5
    for name in ("mask.geojson", "mask.ome.tif", "overlay.png", "metrics.json", "slides/held-out.truth.geojson",
                 "runs/demo/model.json", "runs/latest", "patches/patches.csv"):  # fmt: skip
        assert (out / name).is_file(), name
    assert check_overlay_file(result.overlay) == []
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == result.metrics
    assert 0 <= metrics["miou"] <= 1
    assert set(metrics["seconds"]) == {"synth", "tile", "train", "segment", "evaluate"}
    assert {"torch", "wsi-lpd", "numpy"} <= set(metrics["versions"])
    assert metrics["seed"] == 0


def test_the_held_out_slide__is_never_learnt_from(demo):
    out, _, _ = demo
    assert "held-out" not in (out / "patches" / "patches.csv").read_text()
    assert not [p for p in (out / "patches").iterdir() if p.name.startswith("held-out")]


def test_the_demo_again__does_not_train_again(demo):
    out, first, _ = demo
    weights = out / "runs" / "demo" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = run_demo(out, TINY, device="cpu")
    assert weights.stat().st_mtime_ns == before
    assert again.metrics["miou"] == first.metrics["miou"]
    assert Path(again.overlay).is_file()
