"""The eight views, and their way back."""

import pytest
import torch

from wsi_lpd.models.views import turned, turned_back

PICTURE = torch.arange(2 * 3 * 5 * 5.0).reshape(2, 3, 5, 5)


@pytest.mark.parametrize("code", range(8))
def test_a_view__turned_back_is_the_picture(code):
    assert torch.equal(turned_back(turned(PICTURE, code), code), PICTURE)


def test_the_eight_views__all_differ_and_the_first_is_the_picture():
    assert len({tuple(turned(PICTURE, code).flatten().tolist()) for code in range(8)}) == 8
    assert torch.equal(turned(PICTURE, 0), PICTURE)


def test_two_views__are_a_picture_and_its_mirror_image():
    assert torch.equal(turned(PICTURE, 1), PICTURE.flip(-1))
