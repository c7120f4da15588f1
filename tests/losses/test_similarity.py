"""The similarity refiner against a case worked out by hand."""

import math

import pytest
import torch

from wsi_lpd.losses.similarity import masked_average, similarity_loss


def test_similarity__equals_the_case_worked_out_by_hand():
    # Two classes, two prototypes of one number pair each; one patch with class 0 present and class 1 absent.
    prototypes = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.6, 0.8]]])
    pooled = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    value = similarity_loss(
        pooled, prototypes, present=torch.tensor([[True, False]]), absent=torch.tensor([[False, True]]), temperature=0.5
    )
    own = math.exp(1 / 0.5) + math.exp(0 / 0.5)
    other = math.exp(-1 / 0.5) + math.exp(0.6 / 0.5)
    assert float(value) == pytest.approx(-math.log(own / (own + other)), rel=1e-5)


def test_similarity__siblings_and_classes_that_share_the_patch_are_no_negatives():
    torch.manual_seed(0)
    pooled, prototypes = torch.randn(2, 3, 8), torch.nn.functional.normalize(torch.randn(3, 4, 8), dim=-1)
    present = torch.tensor([[True, True, False]]).expand(2, -1)
    absent = torch.tensor([[False, False, True]]).expand(2, -1)
    swapped = prototypes.clone()
    swapped[1] = -swapped[1]
    only_first = torch.tensor([[True, False, False]]).expand(2, -1)
    before = similarity_loss(pooled, prototypes, present=only_first, absent=absent, temperature=0.1)
    after = similarity_loss(pooled, swapped, present=only_first, absent=absent, temperature=0.1)
    assert torch.equal(before, after)
    both = similarity_loss(pooled, prototypes, present=present, absent=absent, temperature=0.1)
    assert not torch.equal(before, both)


@pytest.mark.parametrize("case", ["nothing present", "nothing absent"])
def test_similarity__nothing_to_contrast_is_zero_with_a_finite_gradient(case):
    pooled = torch.randn(2, 3, 8, requires_grad=True)
    prototypes = torch.nn.functional.normalize(torch.randn(3, 4, 8), dim=-1)
    flags = torch.zeros(2, 3, dtype=torch.bool)
    present, absent = (flags, ~flags) if case == "nothing present" else (~flags, flags)
    value = similarity_loss(pooled, prototypes, present=present, absent=absent, temperature=0.1)
    value.backward()
    assert float(value) == 0
    assert torch.equal(pooled.grad, torch.zeros_like(pooled))


def test_masked_average__weighs_positions():
    features = torch.arange(12.0).reshape(1, 2, 2, 3)
    masks = torch.zeros(1, 2, 2, 3)
    masks[0, 0, 0, 1], masks[0, 0, 1, 2] = 1.0, 3.0
    masks[0, 1] = 0.5
    average = masked_average(features, masks)
    assert average[0, 0].tolist() == pytest.approx([(1 + 3 * 5) / 4, (7 + 3 * 11) / 4])
    assert average[0, 1].tolist() == pytest.approx([2.5, 8.5])
