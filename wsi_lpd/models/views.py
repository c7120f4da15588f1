"""The eight flips and quarter turns of a square picture, numbered 0 to 7; 0 is the picture as it is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_SHIFTS = ((0, 0), (1, 1), (1, 0), (0, 1))
"""Right and down; two views already lie on two phases of both axes."""


def turned(images: Tensor, code: int) -> Tensor:
    """View `code` of (..., S, S): the last bit flips left and right, the others turn by quarters."""
    flipped = images.flip(-1) if code % 2 else images
    return torch.rot90(flipped, code // 2, dims=(-2, -1))


def turned_back(images: Tensor, code: int) -> Tensor:
    """The inverse of `turned`."""
    upright = torch.rot90(images, -(code // 2), dims=(-2, -1))
    return upright.flip(-1) if code % 2 else upright


def shift_of(code: int) -> tuple[int, int]:
    """By how many steps view `code` is moved right and down, 0 or 1 each: four neighbours in number differ."""
    return _SHIFTS[code % 4]


def shifted(images: Tensor, right: int, down: int) -> Tensor:
    """Images (B, X, H, W) moved by so many pixels; what comes in is what lies inside, mirrored."""
    if right == down == 0:
        return images
    height, width = images.shape[-2:]
    return F.pad(images, (right, 0, down, 0), mode="reflect")[..., :height, :width]


def shifted_back(images: Tensor, right: int, down: int) -> Tensor:
    """Moves images back; what has gone out of the picture is as its edge."""
    if right == down == 0:
        return images
    return F.pad(images, (0, right, 0, down), mode="replicate")[..., down:, right:]
