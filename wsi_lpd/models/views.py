"""The eight flips and quarter turns of a square picture, numbered 0 to 7; 0 is the picture as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

VIEWS: Final = 8
"""How many there are."""

_SHIFTS: Final[Mapping[int, Sequence[tuple[int, int]]]] = {
    1: ((0, 0),),
    2: ((0, 0), (2, 2)),
    4: ((0, 0), (2, 2), (2, 0), (0, 2)),
    8: ((0, 0), (1, 2), (2, 1), (3, 3), (0, 3), (1, 1), (2, 2), (3, 0)),
}


def turned(images: Tensor, code: int) -> Tensor:
    """View `code` of (..., S, S): the last bit flips left and right, the others turn by quarters."""
    flipped = images.flip(-1) if code % 2 else images
    return torch.rot90(flipped, code // 2, dims=(-2, -1))


def turned_back(images: Tensor, code: int) -> Tensor:
    """The inverse of `turned`."""
    upright = torch.rot90(images, -(code // 2), dims=(-2, -1))
    return upright.flip(-1) if code % 2 else upright


def shifts_of(views: int) -> Sequence[tuple[int, int]]:
    """By how many eighths of a cell each of 1, 2, 4 or 8 views is moved right and down.

    They are spread evenly over half a cell of the coarsest feature map; windows half a cell apart see the other half.
    Four views lie on all phases of a quarter, eight take every phase of each axis twice.
    """
    return _SHIFTS[views]


class View(NamedTuple):
    """One of several looks at the same pictures.

    Attributes:
        images: What the network sees, (B, 3, S, S).
        code: Which of the eight flips and quarter turns it is.
        right: By how many pixels it was moved, after the turn.
        down: The same.
    """

    images: Tensor
    code: int
    right: int
    down: int

    def back(self, maps: Tensor, *, pixel_px: int = 1) -> Tensor:
        """Maps (B, X, h, w) of this view, upright and where the pictures lie.

        Args:
            maps: Of `images`.
            pixel_px: Pixels of the pictures per map pixel; moves are rounded down to whole ones.
        """
        return turned_back(shifted_back(maps, self.right // pixel_px, self.down // pixel_px), self.code)


def views_of(images: Tensor, count: int, *, cell_px: int, stride: int = 1) -> Iterator[View]:
    """Several views of pictures (B, 3, S, S), the first of them as it is.

    Each is moved a part of a cell farther right and down: what depends on where the network's cells lie is averaged
    out.

    Args:
        images: The pictures.
        count: 1, 2, 4 or 8.
        cell_px: Side of a position of the coarsest feature map.
        stride: Moves are whole pixels of a map of this stride.
    """
    step_px = phase_step(cell_px, stride)
    for code, shift in enumerate(shifts_of(count)):
        right, down = (steps * step_px % cell_px for steps in shift)
        yield View(shifted(turned(images, code), right, down), code, right, down)


def phase_step(cell_px: int, stride: int) -> int:
    """An eighth of a cell, or the least larger part of it that is whole pixels of a map of that stride."""
    return -(-cell_px // (8 * stride)) * stride


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
