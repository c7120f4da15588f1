"""Losses of masks that are partly wrong, against hand-computed cases."""

import math

import pytest
import torch

from wsi_lpd.losses.noisy import pixel_loss
from wsi_lpd.types import IGNORE

P = torch.tensor([[[[0.7, 0.2, 0.1]], [[0.2, 0.5, 0.6]], [[0.1, 0.3, 0.3]]]])  # (1, 3, 1, 3), sums to 1 over values
TARGET = torch.tensor([[[0, 2, 1]]], dtype=torch.uint8)
CHOSEN = [0.7, 0.3, 0.6]


@pytest.mark.parametrize(
    ("form", "cost"),
    [
        ("cross-entropy", lambda p: -math.log(p)),
        ("generalized", lambda p: (1 - p**0.7) / 0.7),
        ("symmetric", lambda p: -0.1 * math.log(p) + 4 * (1 - p)),
    ],
)
def test_a_pixel__costs_what_its_formula_says(form, cost):
    expected = sum(map(cost, CHOSEN)) / 3
    assert float(pixel_loss(P.log(), TARGET, form=form, exponent=0.7)) == pytest.approx(expected, rel=1e-5)


def test_ignored_pixels__are_in_neither_sum_nor_count():
    target = TARGET.clone()
    target[0, 0, 1] = IGNORE
    found = pixel_loss(P.log(), target, form="cross-entropy", exponent=0.7)
    assert float(found) == pytest.approx(-(math.log(0.7) + math.log(0.6)) / 2, rel=1e-5)


def test_a_weight__lowers_the_sum_and_not_the_count():
    weight = torch.tensor([[[0.5, 0.0, 1.0]]])
    found = pixel_loss(P.log(), TARGET, form="cross-entropy", exponent=0.7, weight=weight)
    assert float(found) == pytest.approx(-(0.5 * math.log(0.7) + math.log(0.6)) / 3, rel=1e-5)


def test_a_mask_that_says_nothing__costs_nothing_and_has_a_graph():
    logits = P.log().requires_grad_()
    loss = pixel_loss(logits, torch.full_like(TARGET, IGNORE), form="generalized", exponent=0.7)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_exponent__goes_from_plain_to_mean_absolute():
    near_plain = pixel_loss(P.log(), TARGET, form="generalized", exponent=1e-4)
    assert float(near_plain) == pytest.approx(
        float(pixel_loss(P.log(), TARGET, form="cross-entropy", exponent=1)), rel=1e-3
    )
    absolute = pixel_loss(P.log(), TARGET, form="generalized", exponent=1.0)
    assert float(absolute) == pytest.approx(sum(1 - p for p in CHOSEN) / 3, rel=1e-5)


def test_a_hopeless_pixel__pulls_less_the_more_robust_the_loss():
    def pull(form):
        logits = torch.tensor([[[[6.0]], [[0.0]]]]).requires_grad_()
        pixel_loss(logits, torch.ones((1, 1, 1), dtype=torch.uint8), form=form, exponent=0.7).backward()
        return float(logits.grad.abs().sum())

    assert pull("generalized") < 0.05 * pull("cross-entropy")
    assert pull("symmetric") < 0.2 * pull("cross-entropy")
    assert math.isfinite(float(pixel_loss(torch.tensor([[[[300.0]], [[0.0]]]]), torch.ones((1, 1, 1)), form="symmetric",
                                          exponent=0.7)))  # fmt: skip
