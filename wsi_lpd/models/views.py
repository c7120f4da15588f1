"""The eight flips and quarter turns of a square picture, numbered 0 to 7; 0 is the picture as it is."""

from __future__ import annotations

import torch
from torch import Tensor


def turned(images: Tensor, code: int) -> Tensor:
    """View `code` of (..., S, S): the last bit flips left and right, the others turn by quarters."""
    flipped = images.flip(-1) if code % 2 else images
    return torch.rot90(flipped, code // 2, dims=(-2, -1))


def turned_back(images: Tensor, code: int) -> Tensor:
    """The inverse of `turned`."""
    upright = torch.rot90(images, -(code // 2), dims=(-2, -1))
    return upright.flip(-1) if code % 2 else upright
