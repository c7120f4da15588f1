"""What the network says of a window, at every pixel of the map: by the definition, resized first and decided after."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from wsi_lpd.config import load_config
from wsi_lpd.models.network import build_network
from wsi_lpd.models.views import shift_of, shifted, shifted_back, turned, turned_back
from wsi_lpd.segment.predictor import Predictor, _phase_step

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
    for code in range(views):
        right, down = shift_of(code)
        output = network(shifted(turned(images, code), right * PIXEL_PX, down * PIXEL_PX))

        def back(maps, code=code, right=right, down=down):
            return turned_back(resized(shifted_back(maps, right, down), side), code)

        logits.append(back(network.map_logits(output, torch.ones(len(images), N_CLASSES))))
        similarity.append(torch.stack([back(a) for a in network.fused_similarity(output).unbind(1)], dim=1))
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
    ("cell_px", "pixel_px", "step_px"),
    [(16, 4, 4), (32, 4, 8), (16, 8, 8), (16, 16, 0), (4, 4, 0), (16, 1, 4), (14, 7, 7)],
)
def test_phase_step__is_a_part_of_a_cell_in_whole_map_pixels(cell_px, pixel_px, step_px):
    assert _phase_step(cell_px, pixel_px) == step_px
