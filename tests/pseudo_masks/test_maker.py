"""What becomes of a model's maps: labels close classes, unsure pixels are ignored, every view and layer counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_run import random_run

from wsi_lpd.config import MasksConfig
from wsi_lpd.models.saved.load import load_network
from wsi_lpd.pseudo_masks.maker import MaskMaker
from wsi_lpd.types import IGNORE

SIDE = 32
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return random_run(tmp_path_factory.mktemp("run") / "r", patch_px=SIDE)


class Layers:
    """A method whose maps are given; classes are told by the red of a pixel."""

    mask_weights = (0.7, 0.3)

    def __init__(self, scales):
        self.scales = scales

    def mask_layers(self, network, images, labels):
        red = torch.nn.functional.avg_pool2d(images[:, :1], 2)
        maps = [-4 * (red - level).abs() for level in (0.0, 0.33, 0.66, 1.0)]
        return [scale * torch.cat(maps, dim=1) for scale in self.scales]


def maker(run, *, method=None, **changes):
    network, card = load_network(run)
    values = {"context": 0, "views": 1, "refine": "none", "confidence": 0, "margin": 0} | changes
    made = MaskMaker(network, card, MasksConfig(**values), CPU)
    if method is not None:
        made._method, made.weights = method, method.mask_weights
    return made


def stripes():
    """Four stripes of red that mean background and the classes 1 to 3; unlike in x and y."""
    patches = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    patches[..., 0] = np.repeat([0, 84, 168, 255], SIDE // 4)[None, None, :]
    return patches


def masks(made, patches, labels, margin_px=0):
    return made.masks(patches, torch.tensor(labels, dtype=torch.int8), margin_px=margin_px)


def test_layers__become_masks_in_their_order_and_the_lead_of_the_first(run):
    labels = [[1, 1, 1], [1, 1, 1]]
    found = masks(maker(run, method=Layers((3.0, -3.0))), stripes(), labels)
    assert (found.shape, found.dtype) == ((2, 3, SIDE, SIDE), np.uint8)
    centre = [4, 12, 20, 28]
    assert found[0, 0, 5, centre].tolist() == [0, 1, 2, 3]
    assert found[0, 1, 5, centre].tolist() == [3, 3, 0, 0]
    certain, unsure = found[0, 2, 5, centre], found[0, 2, 5, [15, 16]]
    assert (certain > 240).all()
    assert (unsure < 200).all()


def test_a_class_that_is_absent__is_closed_and_one_not_judged_is_ignored(run):
    found = masks(maker(run, method=Layers((3.0, 3.0))), stripes(), [[1, 0, 1], [1, -1, 1]])
    centre = [4, 12, 20, 28]
    assert found[0, 0, 9, centre].tolist() == [0, 1, 1, 3]  # the second stripe is a little nearer to the first class
    assert 2 not in found[:, 0]
    assert found[1, 0, 9, centre].tolist() == [0, 1, IGNORE, 3]


def test_where_the_network_is_certain_of_an_absent_class__the_pixel_is_ignored(run):
    found = masks(maker(run, method=Layers((20.0, 20.0))), stripes(), [[1, 0, 1], [1, 1, 1]])
    assert found[0, 0, 9, [4, 12, 20, 28]].tolist() == [0, 1, IGNORE, 3]


def test_unsure_pixels__are_ignored(run):
    labels = [[1, 1, 1], [1, 1, 1]]
    sure = masks(maker(run, method=Layers((3.0, 3.0)), margin=0.8), stripes(), labels)
    np.testing.assert_array_equal(sure[:, 0] == IGNORE, sure[:, 2] <= 0.8 * 255)
    assert 0 < (sure[:, 0] == IGNORE).mean() < 0.5
    confident = masks(maker(run, method=Layers((3.0, 3.0)), confidence=0.9), stripes(), labels)
    assert 0 < (confident[:, 0] == IGNORE).mean() < 0.5
    assert (masks(maker(run, method=Layers((0.1, 0.1)), confidence=0.5), stripes(), labels)[:, 0] == IGNORE).all()


def test_views__are_turned_back_and_averaged(run):
    patches = np.random.default_rng(8).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    labels = [[1, 1, 0], [0, 1, 1]]
    made = maker(run, views=8)
    one, eight = masks(maker(run), patches, labels), masks(made, patches, labels)
    assert (one[:, 0] != eight[:, 0]).any()
    with torch.no_grad():
        made.masks(patches, torch.tensor(labels), margin_px=0)
    upright = masks(maker(run, method=Layers((20.0, 20.0)), views=8), stripes(), [[1, 1, 1]] * 2)
    single = masks(maker(run, method=Layers((20.0, 20.0))), stripes(), [[1, 1, 1]] * 2)
    middle = [3, 4, 11, 12, 19, 20, 27, 28]
    np.testing.assert_array_equal(upright[:, 0][:, :, middle], single[:, 0][:, :, middle])


def test_a_margin__is_looked_at_and_cut_away(run):
    rng = np.random.default_rng(1)
    windows = rng.integers(0, 256, (2, SIDE + 32, SIDE + 32, 3), dtype=np.uint8)
    labels = [[1, 1, 1], [1, 1, 1]]
    for refinement in ("none", "pamr"):
        found = masks(maker(run, refine=refinement, context=0.5), windows, labels, margin_px=16)
        assert found.shape == (2, 2, SIDE, SIDE)
        alone = masks(maker(run, refine=refinement), windows[:, 16:-16, 16:-16], labels)
        assert (found[:, 1] != alone[:, 1]).mean() > 0.2
    whole = masks(maker(run), windows, labels)
    np.testing.assert_array_equal(masks(maker(run), windows, labels, margin_px=16), whole[:, :, 16:-16, 16:-16])


@pytest.mark.parametrize(("context", "side", "expected"), [(0.5, 64, 32), (0.5, 224, 112), (0, 64, 0), (0.3, 64, 16)])
def test_the_margin__is_whole_cells(run, context, side, expected):
    assert maker(run, context=context).margin_px(side) == expected


@pytest.mark.parametrize(("asked", "expected"), [(5, 5), (None, 8 * 224**2 // 64**2)])
def test_patches_of_a_pass__are_as_many_as_asked_or_as_suit_the_device(run, asked, expected):
    assert maker(run, context=0.5, batch_size=asked).patches_per_pass(SIDE) == expected
