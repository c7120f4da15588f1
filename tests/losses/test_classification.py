"""Classification and background terms against plain formulas."""

import math

import pytest
import torch
from torch.nn import functional as F

from wsi_lpd.losses.classification import background_loss, classification_loss, exclusion_loss, positive_weights


def test_classification__is_the_weighted_sum_over_scales_of_labelled_cells():
    torch.manual_seed(0)
    logits = [torch.randn(3, 2), torch.randn(3, 2)]
    labels = torch.tensor([[1, 0], [-1, 1], [0, -1]])
    weights = torch.tensor([2.0, 1.0])
    value = classification_loss(logits, labels, scale_weights=(0.5, 1.0), positive_weights=weights)
    expected = 0.0
    for scale, factor in zip(logits, (0.5, 1.0), strict=True):
        cells = [
            F.binary_cross_entropy_with_logits(scale[i, c], labels[i, c].float(), pos_weight=weights[c])
            for i in range(3)
            for c in range(2)
            if labels[i, c] >= 0
        ]
        expected += factor * sum(cells) / len(cells)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_classification__unlabelled_cells_get_no_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    labels = torch.tensor([[1, -1, 0], [-1, -1, 1]])
    classification_loss([logits], labels, scale_weights=(1.0,), positive_weights=torch.ones(3)).backward()
    assert torch.equal(logits.grad == 0, labels == -1)


def test_classification__smoothing_moves_the_best_logit_to_its_target():
    logits = torch.tensor([[math.log(0.9 / 0.1)]], requires_grad=True)
    classification_loss(
        [logits], torch.tensor([[1]]), scale_weights=(1.0,), positive_weights=torch.ones(1), smoothing=0.1
    ).backward()
    assert float(logits.grad) == pytest.approx(0, abs=1e-6)


def test_positive_weights__are_the_bounded_root_of_negatives_per_positive():
    labels = torch.tensor([[1, 0, 0]] * 4 + [[0, 0, 1]] * 36 + [[-1, 0, -1]] * 7)
    assert positive_weights(labels).tolist() == pytest.approx([3.0, math.sqrt(47), 1.0])
    assert positive_weights(labels, limit=2.0).tolist() == [2.0, 2.0, 1.0]


def test_background__falls_when_glass_scores_below_it_and_tissue_above():
    glass = torch.zeros(1, 4, 6)
    glass[:, :, :2] = 1
    right = torch.where(glass[:, None] == 1, -3.0, 3.0).expand(-1, 3, -1, -1)
    background = torch.tensor(0.0)
    good, bad = background_loss(right, background, glass), background_loss(-right, background, glass)
    assert float(good) < 0.2 < 2 < float(bad)


def test_background__glass_and_tissue_count_alike():
    maps = torch.zeros(1, 2, 10, 10, requires_grad=True)
    glass = torch.zeros(1, 10, 10)
    glass[0, 0, 0] = 1
    background_loss(maps, torch.tensor(0.0), glass).backward()
    pull = maps.grad.sum(1)[0]
    # softplus gradients at logsumexp(0, 0) = log 2: glass is pulled down by 2/3, tissue up by 1/3, half the weight each
    assert float(pull[0, 0]) == pytest.approx(0.5 * 2 / 3, rel=1e-4)
    assert float(pull.sum() - pull[0, 0]) == pytest.approx(-0.5 / 3, rel=1e-4)


def test_exclusion__is_what_absent_classes_take_of_each_position():
    maps = torch.tensor([2.0, 1.0, -1.0]).reshape(1, 3, 1, 1).expand(-1, -1, 2, 5)
    value = exclusion_loss([maps], torch.tensor(0.5), torch.tensor([[1, 0, -1]]), scale_weights=(2.0,))
    share = math.exp(1.0) / sum(math.exp(v) for v in (0.5, 2.0, 1.0, -1.0))
    assert float(value) == pytest.approx(-2 * math.log(1 - share), rel=1e-5)


def test_exclusion__pushes_absent_classes_down_and_nothing_else_there_up_but_its_rivals():
    maps = torch.randn(2, 3, 4, 5, requires_grad=True)
    exclusion_loss([maps], torch.tensor(0.0), torch.tensor([[1, 0, 0], [1, 1, -1]]), scale_weights=(1.0,)).backward()
    assert (maps.grad[0, 1:] > 0).all()
    assert (maps.grad[0, 0] < 0).all()
    assert (maps.grad[1] == 0).all(), "where nothing is excluded there is nothing to push"
