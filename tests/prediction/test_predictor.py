"""What the network says of a window, at every pixel of the map: by the definition, resized first and decided after."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from wsi_lpd.config import load_config
from wsi_lpd.models.network import build_network
from wsi_lpd.models.views import phase_step, shifted, shifted_back, shifts_of, turned, turned_back
from wsi_lpd.prediction.predictor import Predictor

SIDE_PX, N_CLASSES, LEAD = 96, 3, 1e-4
CELL_PX, PIXEL_PX = 16, 4


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(load_config(None).model, n_classes=N_CLASSES).eval()


def look(network, windows, **options):
    calibration = SimpleNamespace(temperature=(1.0,) * N_CLASSES, offset=(0.0,) * N_CLASSES)
    encoder = SimpleNamespace(reductions=(4, 8, CELL_PX))
    card = SimpleNamespace(patch_px=SIDE_PX, calibration=calibration, encoder=encoder)
    return Predictor(network, card, torch.device("cpu")).predict(windows, **options)


def resized(maps, side):
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


@torch.no_grad()
def defined(network, windows, side, views):
    """Logits (B, C + 1, side, side) and similarities (B, C, K, side, side): means over the views of full-size maps."""
    images = torch.from_numpy(windows).permute(0, 3, 1, 2).float() / 255
    logits, similarity = [], []
    stride = SIDE_PX // side
    step_px = phase_step(CELL_PX, stride)
    for code, shift in enumerate(shifts_of(views)):
        right, down = (steps * step_px % CELL_PX for steps in shift)
        output = network(shifted(turned(images, code), right, down))
        maps = resized(network.map_logits(output, torch.ones(len(images), N_CLASSES)), side)
        logits.append(turned_back(shifted_back(maps, right // stride, down // stride), code))
        moved = [
            shifted_back(a, right // PIXEL_PX, down // PIXEL_PX) for a in network.fused_similarity(output).unbind(1)
        ]
        similarity.append(torch.stack([turned_back(resized(a, side), code) for a in moved], dim=1))
    return torch.stack(logits).mean(0).numpy(), torch.stack(similarity).mean(0)


@pytest.mark.parametrize("views", [1, 8])
@pytest.mark.parametrize("stride", [1, 4, 16])
def test_logits_and_prototypes__are_those_of_the_resized_maps(network, stride, views):
    windows = np.random.default_rng(views).integers(0, 256, (2, SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    maps = look(network, windows, output_stride=stride, views=views)
    logits, similarity = defined(network, windows, SIDE_PX // stride, views)
    np.testing.assert_allclose(np.stack([m.logits for m in maps]), logits, atol=LEAD)
    best, second = similarity.topk(2, dim=2).values.unbind(2)
    clear = (best - second > LEAD).numpy()
    assert clear.mean() > 0.9
    found, expected = np.stack([m.prototypes for m in maps]), similarity.argmax(dim=2).numpy()
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(found[clear], expected[clear])


@pytest.mark.parametrize(
    ("cell_px", "stride", "step_px"),
    [(16, 2, 2), (32, 2, 4), (16, 4, 4), (16, 1, 2), (16, 16, 16), (14, 1, 2), (4, 8, 8)],
)
def test_phase_step__is_a_part_of_a_cell_in_whole_map_pixels(cell_px, stride, step_px):
    assert phase_step(cell_px, stride) == step_px


@pytest.mark.parametrize("stride", [2, 4])
def test_eight_views__bring_a_picture_back_to_where_it_was(stride):
    """A network whose map is the picture itself: whatever was moved out, nothing has moved in the end."""

    class Mirror:
        def __call__(self, images):
            return F.avg_pool2d(images, PIXEL_PX)

        def map_logits(self, output, presence):
            return output

        def part_logits(self, output, side):
            return torch.zeros(len(output), N_CLASSES, side, side)

        def fused_similarity(self, output):
            return output[:, None].repeat(1, N_CLASSES, 1, 1, 1)

        def to(self, device):
            return self

        def eval(self):
            return self

    ramp = (np.add.outer(2 * np.arange(SIDE_PX), np.arange(SIDE_PX)) * 0.85).astype(np.uint8)[None, :, :, None]
    windows = np.repeat(ramp, 3, axis=-1)
    (maps,) = look(Mirror(), windows, output_stride=stride, views=8)
    expected = F.avg_pool2d(torch.from_numpy(windows).permute(0, 3, 1, 2).float() / 255, stride)[0].numpy()
    inside = (slice(None), slice(12, -12), slice(12, -12))
    np.testing.assert_allclose(maps.logits[inside], expected[inside], atol=0.5 / 255)
