"""What the gate hears of a window: whether a class occurs in any part of a patch's size, calibrated on patches."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wsi_lpd.config import load_config
from wsi_lpd.models.network import build_network, taken_apart
from wsi_lpd.prediction.predictor import Predictor

TEMPERATURE, OFFSET = (0.5, 2.0), (1.0, -0.5)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(load_config(None).model, n_classes=2).eval()


def predictor(network, patch_px):
    calibration = SimpleNamespace(temperature=TEMPERATURE, offset=OFFSET)
    encoder = SimpleNamespace(reductions=network.encoder.reductions)
    card = SimpleNamespace(patch_px=patch_px, calibration=calibration, encoder=encoder)
    return Predictor(network, card, torch.device("cpu"))


def windows(side_px=64):
    """A bright upper left corner, a dark lower edge, noise in between."""
    picture = np.random.default_rng(0).integers(0, 255, (1, side_px, side_px, 3)).astype(np.uint8)
    picture[:, : side_px // 3, : side_px // 2] = (230, 200, 225)
    picture[:, -side_px // 4 :] = (60, 30, 90)
    return picture


def calibrated(logits):
    return torch.sigmoid((logits - torch.tensor(OFFSET)) / torch.tensor(TEMPERATURE)).numpy()


@torch.no_grad()
def output_of(network, pictures):
    return network(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)


def test_a_window_of_one_patch__has_the_probability_of_the_patch(network):
    presence = predictor(network, 64).predict(windows(), output_stride=4)[0].presence
    np.testing.assert_allclose(presence, calibrated(output_of(network, windows()).fused_logits)[0], rtol=1e-4)


def test_a_window_of_four_patches__has_the_probability_of_the_likeliest(network):
    presence = predictor(network, 32).predict(windows(), output_stride=4)[0].presence
    output = output_of(network, windows())
    quarters = [taken_apart(maps, 2).mean(dim=(2, 3)) for maps in output.class_maps]
    logits = sum(w * y for w, y in zip(network.fusion, quarters, strict=True))
    assert logits.amax(dim=0).gt(output.fused_logits[0]).all(), "the parts differ"
    np.testing.assert_allclose(presence, calibrated(logits).max(axis=0), rtol=1e-4)


@pytest.mark.parametrize(("patch_px", "side"), [(200, 1), (64, 1), (22, 3), (16, 4)])
def test_the_parts__are_as_large_as_patches_as_nearly_as_the_window_allows(network, patch_px, side):
    presence = predictor(network, patch_px).predict(windows(), output_stride=4)[0].presence
    parts = network.part_logits(output_of(network, windows()), side)
    assert parts.shape == (1, 2, side, side)
    np.testing.assert_allclose(presence, calibrated(parts.amax(dim=(2, 3)))[0], rtol=1e-4)
