"""Refinement: the published formulas, spelt out slowly, and what must hold of any of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wsi_lpd.models.activation import label_probabilities
from wsi_lpd.prediction import refine as module
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.prediction.refine import refine

METHODS = ["pamr", "guided"]
PINK, VIOLET = (0.85, 0.6, 0.75), (0.45, 0.3, 0.6)


def noise(batch=2, n_values=4, height=23, width=31, seed=0):
    """Probabilities and pictures without any structure."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = (2 * torch.randn(batch, n_values, height, width, generator=generator)).softmax(dim=1)
    return probabilities, torch.rand(batch, 3, height, width, generator=generator)


def two_tissues(height=60, width=88):
    """Violet right of a slanted, bent line on pink, with a grain; and where it is violet, (1, 3, h, w) and (h, w)."""
    generator = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    violet = x > 30 + 0.4 * y + 6 * torch.sin(y / 7)
    picture = torch.where(violet, torch.tensor(VIOLET)[:, None, None], torch.tensor(PINK)[:, None, None])
    return (picture + 0.03 * torch.randn(picture.shape, generator=generator)).clamp(0, 1)[None], violet


def noisy_guess(violet):
    """Probabilities of background, pink and violet: noisy, and the outline lies 3 px too far right, (1, 3, h, w)."""
    generator = torch.Generator().manual_seed(2)
    moved = torch.roll(violet, 3, dims=1)
    moved[:, :3] = False
    logits = torch.stack([torch.full_like(moved, -3.0, dtype=torch.float), 1.0 - 2.0 * moved, 2.0 * moved - 1.0])
    return (logits + torch.randn(logits.shape, generator=generator))[None].softmax(dim=1)


def iou(labels, truth):
    return float((labels & truth).sum() / (labels | truth).sum())


def pamr_slowly(probabilities, images, dilations):
    """The formula, position by position."""
    p, x = probabilities.double().numpy(), images.double().numpy()
    height, width = x.shape[-2:]

    def around(i, j, distance):
        for dy in (-distance, 0, distance):
            for dx in (-distance, 0, distance):
                yield min(max(i + dy, 0), height - 1), min(max(j + dx, 0), width - 1), (dy, dx) == (0, 0)

    mixing = np.zeros((len(x), height, width, height, width))
    for b, i, j in np.ndindex(len(x), height, width):
        places = [place for d in dilations for place in around(i, j, d)]
        sigma = np.std([x[b, :, r, c] for r, c, _ in places], axis=0, ddof=1)
        others = [(r, c) for r, c, itself in places if not itself]
        k = np.array([-(np.abs(x[b, :, i, j] - x[b, :, r, c]) / (0.1 * sigma)).mean() for r, c in others])
        alpha = np.exp(k - k.max())
        for (r, c), a in zip(others, alpha / alpha.sum(), strict=True):
            mixing[b, i, j, r, c] += a
    for _ in range(10):
        p = np.einsum("bijrc,bnrc->bnij", mixing, p, optimize=True)
    return p


def guided_slowly(probabilities, images, radius):
    """A ridge regression of the map on the colours in every box; a position gets the mean of its boxes' answers."""
    p, x = probabilities.double().numpy(), images.double().numpy()
    height, width = x.shape[-2:]
    answer, count = np.zeros_like(p), np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        box = slice(max(i - radius, 0), i + radius + 1), slice(max(j - radius, 0), j + radius + 1)
        count[box] += 1
        for b in range(len(x)):
            colours = x[b][:, *box].reshape(3, -1).T
            values = p[b][:, *box].reshape(p.shape[1], -1).T
            centred = colours - colours.mean(axis=0)
            ridge = len(colours) * 1e-3 * np.eye(3)
            slope = np.linalg.solve(centred.T @ centred + ridge, centred.T @ (values - values.mean(axis=0)))
            answer[b][:, *box] += (centred @ slope + values.mean(axis=0)).T.reshape(p[b][:, *box].shape)
    answer = np.maximum(answer / count, 0)
    return answer / answer.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("stride", "dilations"), [(1, [1, 2, 4, 8]), (2, [1, 2, 4]), (4, [1, 2]), (16, [1])])
def test_pamr__is_the_published_formula_at_distances_in_model_pixels(stride, dilations):
    probabilities, images = noise(height=11, width=14)
    found = refine(probabilities, images, method="pamr", stride=stride)
    np.testing.assert_allclose(found, pamr_slowly(probabilities, images, dilations), atol=1e-5)


@pytest.mark.parametrize(("stride", "radius"), [(1, 8), (2, 4), (16, 1)])
def test_the_guided_filter__is_the_published_formula_with_a_radius_in_model_pixels(stride, radius):
    probabilities, images = noise(height=13, width=19)
    found = refine(probabilities, images, method="guided", stride=stride)
    np.testing.assert_allclose(found, guided_slowly(probabilities, images, radius), atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(23, 31), (31, 9), (5, 3), (1, 4)])
def test_the_result__is_a_distribution_at_every_position(method, shape):
    probabilities, images = noise(height=shape[0], width=shape[1])
    images[0] = 1.0  # glass: no colour varies at all
    found = refine(probabilities, images, method=method)
    assert found.shape == probabilities.shape
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, *shape))


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_map__is_left_as_it_is(method):
    _, images = noise()
    constant = torch.tensor([0.05, 0.6, 0.25, 0.1]).reshape(1, 4, 1, 1).expand(2, 4, 23, 31)
    torch.testing.assert_close(refine(constant, images, method=method), constant, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("flip", [lambda t: t.flip(-1), lambda t: t.flip(-2), lambda t: t.transpose(-1, -2)])
def test_a_flipped_picture__gives_the_flipped_map(method, flip):
    probabilities, images = noise()
    expected = flip(refine(probabilities, images, method=method))
    torch.testing.assert_close(refine(flip(probabilities), flip(images), method=method), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_noisy_outline__moves_to_the_edge_of_the_picture(method):
    picture, violet = two_tissues()
    guess = noisy_guess(violet)
    before, after = guess.argmax(dim=1)[0] == 2, refine(guess, picture, method=method).argmax(dim=1)[0] == 2
    assert iou(before, violet) < 0.85
    assert iou(after, violet) > 0.96


def test_a_picture_without_edges__moves_nothing_to_the_edge():
    picture, violet = two_tissues()
    guess = noisy_guess(violet)
    for method in METHODS:
        after = refine(guess, torch.full_like(picture, 0.6), method=method).argmax(dim=1)[0] == 2
        assert iou(after, violet) < 0.95, "what mends the outline must be the picture"


def test_images_in_chunks__give_what_they_give_together(monkeypatch):
    probabilities, images = noise(batch=5)
    together = refine(probabilities, images, method="pamr")
    monkeypatch.setattr(module, "_CPU_CHUNK_VALUES", 2 * 32 * 23 * 31)
    torch.testing.assert_close(refine(probabilities, images, method="pamr"), together)


def test_none__hands_back_what_it_got():
    probabilities, images = noise()
    assert refine(probabilities, images, method="none") is probabilities


def test_pictures_of_another_size__are_refused():
    probabilities, images = noise()
    with pytest.raises(ValueError, match=r"\(2, 3, 31, 23\) do not fit maps of shape \(2, 4, 23, 31\)"):
        refine(probabilities, images.transpose(-1, -2), method="pamr")


class GuessingNetwork(torch.nn.Module):
    """Says of every window what `logits`, background first, say."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return SimpleNamespace(batch=len(images))

    def part_logits(self, output, side):
        return torch.zeros(output.batch, 2, side, side)

    def map_logits(self, output, presence):
        return self.logits[None].expand(len(presence), -1, -1, -1)

    def fused_similarity(self, output):
        return self.map_logits(output, range(output.batch))[:, 1:, None].expand(-1, -1, 3, -1, -1)


@pytest.mark.parametrize("method", ["none", *METHODS])
def test_a_window__is_refined_at_the_scale_of_the_map(method):
    picture, violet = two_tissues(64, 64)
    guess = noisy_guess(violet)
    calibration = SimpleNamespace(temperature=(1.0, 1.0), offset=(0.0, 0.0))
    card = SimpleNamespace(patch_px=64, calibration=calibration, encoder=SimpleNamespace(reductions=(2,)))
    predictor = Predictor(GuessingNetwork(guess[0].log()), card, torch.device("cpu"))
    large = picture.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)  # two model pixels per map pixel
    windows = (large * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    maps = predictor.predict(windows, output_stride=2, refinement=method)[0]
    found = label_probabilities(torch.from_numpy(maps.logits)[None])
    expected = refine(guess, (picture * 255).round() / 255, method=method, stride=2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
