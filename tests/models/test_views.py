"""The eight views, and their way back."""

import pytest
import torch

from wsi_lpd.models.views import shifted, shifted_back, shifts_of, turned, turned_back

PICTURE = torch.arange(2 * 3 * 5 * 5.0).reshape(2, 3, 5, 5)


@pytest.mark.parametrize("code", range(8))
def test_a_view__turned_back_is_the_picture(code):
    assert torch.equal(turned_back(turned(PICTURE, code), code), PICTURE)


def test_the_eight_views__all_differ_and_the_first_is_the_picture():
    assert len({tuple(turned(PICTURE, code).flatten().tolist()) for code in range(8)}) == 8
    assert torch.equal(turned(PICTURE, 0), PICTURE)


def test_two_views__are_a_picture_and_its_mirror_image():
    assert torch.equal(turned(PICTURE, 1), PICTURE.flip(-1))


def test_shifted__moves_right_and_down_and_mirrors_what_comes_in():
    picture = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert shifted(picture, 2, 1)[0, 0].tolist() == [[6, 5, 4, 5], [2, 1, 0, 1], [6, 5, 4, 5]]
    assert shifted(picture, 0, 0) is picture


def test_shifted_back__is_the_inverse_but_for_what_went_out():
    picture = torch.rand(2, 3, 9, 7)
    again = shifted_back(shifted(picture, 2, 3), 2, 3)
    assert torch.equal(again[..., :6, :5], picture[..., :6, :5])
    assert torch.equal(again[..., 6:, :5], picture[..., 5:6, :5].expand(-1, -1, 3, -1))


def test_shifts__are_spread_evenly_over_half_a_cell():
    assert set(shifts_of(1)) == {(0, 0)}
    assert set(shifts_of(2)) == {(0, 0), (2, 2)}
    assert set(shifts_of(4)) == {(0, 0), (0, 2), (2, 0), (2, 2)}
    assert len(set(shifts_of(8))) == 8
    for axis in zip(*shifts_of(8), strict=True):
        assert sorted(axis) == [0, 0, 1, 1, 2, 2, 3, 3]
