"""Glass shows itself: the one thing in a patch that needs no label."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

_GLASS_PX = 32
_GLASS_CELL_PX = 4
_GLASS_LUMINANCE = 0.86
_GLASS_COLOURFULNESS = 0.08


def glass_share(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Share of glass around each position of a map: bright, colourless areas at least `_GLASS_PX` wide.

    Args:
        images: RGB in [0, 1] before any change of colour, (B, 3, H, W).
        size: Height and width of the map.

    Returns:
        (B, h, w) in [0, 1]. Smaller bright spots (lumina, fat) stay tissue: a morphological opening removes them.
    """
    coarse = F.avg_pool2d(images, _GLASS_CELL_PX)
    bright = coarse.mean(dim=1) > _GLASS_LUMINANCE
    grey = coarse.amax(dim=1) - coarse.amin(dim=1) < _GLASS_COLOURFULNESS
    white = (bright & grey).float()[:, None]
    side = min(_GLASS_PX // _GLASS_CELL_PX, *white.shape[-2:])
    opened = F.pad(-_highest(-white, side), (side - 1,) * 4)
    return F.adaptive_avg_pool2d(_highest(opened, side), size)[:, 0]


def _highest(maps: Tensor, side: int) -> Tensor:
    """Sliding maximum over squares, one axis at a time: a square window of 1,024 values is slow on a CPU."""
    return F.max_pool2d(F.max_pool2d(maps, (side, 1), stride=1), (1, side), stride=1)
