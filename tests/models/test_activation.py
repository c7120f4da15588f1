"""Gate and pseudo mask, worked out by hand."""

import pytest
import torch

from wsi_lpd.models.activation import gate_bias, image_probability, pseudo_mask, with_background


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


def test_the_gate__is_zero_for_a_class_that_is_there_and_bounded_for_one_that_is_not():
    bias = gate_bias(torch.tensor([1.0, 0.5, 0.0]))
    assert bias.tolist() == pytest.approx([0.0, -0.6931, -9.2103], abs=1e-3)


def test_image_probability__uses_the_calibration_of_each_class():
    p = image_probability(
        torch.tensor([[2.0, 2.0]]), temperature=torch.tensor([1.0, 2.0]), offset=torch.tensor([2.0, 0.0])
    )
    assert p[0].tolist() == pytest.approx([0.5, 0.7311], abs=1e-4)
