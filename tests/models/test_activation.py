"""Gate and pseudo mask, worked out by hand."""

import pytest
import torch

from wsi_lpd.models.activation import (
    gate_factor,
    image_probability,
    label_probabilities,
    labels_of,
    pseudo_mask,
    with_background,
)


def test_the_background__is_channel_zero():
    maps = torch.rand(2, 3, 4, 5)
    stacked = with_background(maps, torch.tensor(0.25))
    assert (stacked[:, 0] == 0.25).all()
    assert torch.equal(stacked[:, 1:], maps)


def mask_of(maps, labels, confidence=0.5, margin=0.1, background=0.0):
    return pseudo_mask(
        torch.tensor(maps, dtype=torch.float32).reshape(1, len(maps), 1, -1),
        torch.tensor(background),
        torch.tensor([labels]),
        confidence=confidence,
        margin=margin,
    )[0, :, 0].tolist()


def test_a_sure_position__belongs_to_its_class():
    assert mask_of([[5.0, -5.0], [-5.0, 5.0]], [1, 1]) == [[True, False], [False, True]]


def test_an_absent_class__gets_no_position_however_high_it_scores():
    assert mask_of([[9.0, 9.0], [3.0, -3.0]], [0, 1]) == [[False, False], [True, False]]


def test_an_unlabelled_class__competes_but_gets_no_position():
    assert mask_of([[9.0, -9.0], [3.0, 3.0]], [-1, 1]) == [[False, False], [False, True]]


def test_positions_of_the_background__and_unsure_ones_are_left_out():
    assert mask_of([[-3.0, 2.0], [-9.0, 1.9]], [1, 1]) == [[False, False], [False, False]]


def test_the_margin__counts_from_the_runner_up():
    maps = [[1.0], [0.5]]  # probabilities 0.506, 0.307, background 0.186
    assert mask_of(maps, [1, 1], confidence=0.5, margin=0.19) == [[True], [False]]
    assert mask_of(maps, [1, 1], confidence=0.5, margin=0.21) == [[False], [False]]
    assert mask_of(maps, [1, 1], confidence=0.51, margin=0.0) == [[False], [False]]


def test_the_gate__leaves_a_class_that_is_there_and_is_bounded_for_one_that_is_not():
    assert gate_factor(torch.tensor([1.0, 0.5, 0.0])).tolist() == pytest.approx([1.0, 0.5, 1e-4])


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("spread", [1.0, 30.0, 1e4])
def test_label_probabilities__are_sigmoid_and_softmax_with_the_gate_in_the_exponent(spread, gated):
    torch.manual_seed(3)
    logits, presence = spread * torch.randn(2, 4, 5, 7), torch.rand(2, 3, 1, 1)
    presence[0, 1] = 0
    found = label_probabilities(logits, presence if gated else None)
    background, classes = logits[:, :1].double(), logits[:, 1:].double()
    tissue = torch.sigmoid(torch.logsumexp(classes, dim=1, keepdim=True) - background)
    bias = presence.double().clamp(min=1e-4).log() if gated else 0
    expected = torch.cat([1 - tissue, tissue * (classes + bias).softmax(dim=1)], dim=1)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_classes", [1, 2, 5])
def test_labels__are_the_likeliest_class_or_a_background_of_more_than_half(n_classes):
    torch.manual_seed(n_classes)
    probabilities = (3 * torch.randn(2, n_classes + 1, 9, 11)).softmax(dim=1)
    probabilities[0, :, 0, 0] = torch.tensor([0.5, 0.5, *[0.0] * (n_classes - 1)])
    labels = labels_of(probabilities)
    assert labels.dtype == torch.uint8
    likeliest = probabilities[:, 1:].argmax(dim=1) + 1
    assert torch.equal(labels.long(), torch.where(probabilities[:, 0] > 0.5, 0, likeliest))
    assert labels[0, 0, 0] == 1
    assert set(labels.unique().tolist()) == set(range(n_classes + 1))


def test_image_probability__uses_the_calibration_of_each_class():
    p = image_probability(
        torch.tensor([[2.0, 2.0]]), temperature=torch.tensor([1.0, 2.0]), offset=torch.tensor([2.0, 0.0])
    )
    assert p[0].tolist() == pytest.approx([0.5, 0.7311], abs=1e-4)
