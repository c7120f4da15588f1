"""One image is looked at like a slide: in windows, mirrored past its edges, with no label."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wsi_lpd.config import SegmentConfig
from wsi_lpd.prediction.images import predict_image
from wsi_lpd.prediction.stitch import WindowMaps

ROOT = Path(__file__).resolve().parents[2] / "wsi_lpd"


class RampPredictor:
    """The background's logit is the red channel, class 1's the green, class 2's the blue; presence is the mean."""

    def __init__(self, patch_px=32, window_px=64):
        self.card = SimpleNamespace(patch_px=patch_px, classes=("a", "b"))
        self.window_px, self.cell_px = window_px, 16
        self.device = torch.device("cpu")
        self.sides, self.options = [], []

    def predict(self, windows, *, output_stride, views=1, refinement="none"):
        assert output_stride == 1
        self.sides.append(windows.shape[1])
        self.options.append((views, refinement))
        maps = []
        for window in windows.astype(np.float32):
            presence = window[..., 1:].mean(axis=(0, 1)) / 255
            maps.append(WindowMaps(window.transpose(2, 0, 1), presence, np.zeros((2, *window.shape[:2]), np.uint8)))
        return maps


def picture(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(20, 31), (32, 32), (33, 20), (64, 90), (150, 71), (5, 200)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_logits__lie_where_the_pixels_do(shape, overlap):
    pixels = picture(*shape)
    maps = predict_image(pixels, RampPredictor(), SegmentConfig(overlap=overlap, batch_size=3))
    np.testing.assert_allclose(maps.logits, pixels.transpose(2, 0, 1), atol=1e-3)
    assert maps.presence.shape == (2, *shape)
    assert maps.presence.min() >= 0
    assert maps.presence.max() <= 1


@pytest.mark.parametrize(("shape", "side"), [((20, 31), 32), ((32, 32), 32), ((33, 20), 64), ((90, 200), 64)])
def test_an_image_no_larger_than_a_patch__is_one_patch(shape, side):
    predictor = RampPredictor()
    predict_image(picture(*shape), predictor, SegmentConfig())
    assert set(predictor.sides) == {side}
    chosen = RampPredictor()
    predict_image(picture(*shape), chosen, SegmentConfig(window_px=48, views=4, refine="guided"))
    assert set(chosen.sides) == {48}
    assert set(chosen.options) == {(4, "guided")}


def test_what_lies_past_the_edge__is_the_image_mirrored():
    seen = []

    class Recorder(RampPredictor):
        def predict(self, windows, **options):
            seen.append(windows.copy())
            return super().predict(windows, **options)

    pixels = picture(20, 9)
    predict_image(pixels, Recorder(), SegmentConfig())
    window = seen[0][0]
    np.testing.assert_array_equal(window, np.pad(pixels, ((6, 6), (11, 12), (0, 0)), mode="symmetric"))


def test_image_presence__is_that_of_the_likeliest_place():
    pixels = np.zeros((64, 200, 3), np.uint8)
    pixels[:, 136:, 1] = 255
    maps = predict_image(pixels, RampPredictor(), SegmentConfig(overlap=0))
    assert maps.image_presence[0] == pytest.approx(maps.presence[0].max())
    assert maps.image_presence[0] > 0.8
    assert maps.image_presence[1] == 0


CARRIERS = re.compile(r"label|truth|true|mask|target|oracle|annotation|presen|answer|ground")


def predicting_functions():
    """Functions of these rooms that are given a predictor or hold one, those of the predictor, and network forwards."""
    rooms = ("prediction", "segmentation", "models")
    for path in sorted(path for room in rooms for path in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owner = {child: node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for child in node.body}
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            given += [a for a in (node.args.vararg, node.args.kwarg) if a is not None]
            sees = any(a.annotation is not None and "Predictor" in ast.unparse(a.annotation) for a in given)
            if sees or owner.get(node) == "Predictor" or node.name in ("forward", "decide"):
                yield f"{path.stem}.{node.name}", [a.arg for a in given]


def test_nothing_that_predicts__can_be_told_a_label():
    found = dict(predicting_functions())
    assert {"images.predict_image", "predictor.predict", "segmenter.segment_slide", "network.forward"} <= set(found)
    told = [f"{name}({argument})" for name, arguments in found.items() for argument in arguments]
    assert [entry for entry in told if CARRIERS.search(entry.partition("(")[2])] == []
