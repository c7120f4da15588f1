"""Learning from a pseudo mask."""

import math

import pytest
import torch

from wsi_lpd.losses.pseudo import pseudo_loss


def test_pseudo_loss__is_the_mean_over_classes_of_the_cross_entropy_of_their_positions():
    maps = torch.tensor([[[[2.0, 0.0, 5.0, 3.0]], [[0.0, 1.0, -5.0, 0.0]]]])  # (1, 2, 1, 4)
    mask = torch.tensor([[[[True, False, False, True]], [[False, True, False, False]]]])
    first = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-3))) / 2
    expected = (first + math.log(1 + math.exp(-1))) / 2
    assert float(pseudo_loss([maps], [mask])) == pytest.approx(expected, rel=1e-5)
    both = pseudo_loss([maps, torch.zeros(1, 2, 1, 2)], [mask, torch.tensor([[[[True, True]], [[False, False]]]])])
    assert float(both) == pytest.approx((expected + math.log(2)) / 2, rel=1e-5)


def test_pseudo_loss__is_zero_with_a_graph_where_nothing_is_sure():
    maps = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = pseudo_loss([maps], [torch.zeros(2, 3, 4, 5, dtype=torch.bool)])
    loss.backward()
    assert loss.item() == 0
    assert maps.grad.abs().sum() == 0
