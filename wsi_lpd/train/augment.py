"""Changes to training patches, made on the device from one generator, so that a step can be repeated exactly."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.config import AugmentConfig
from wsi_lpd.models.views import turned

# Optical density of haematoxylin, eosin and the residual in R, G, B (Ruifrok and Johnston, 2001).
_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
_LEAST_LIGHT = 1.0 / 256
_GLASS_PX = 32
_GLASS_CELL_PX = 4
_GLASS_LUMINANCE = 0.86
_GLASS_COLOURFULNESS = 0.08


def flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each patch of (B, 3, S, S) in one of its eight flips and quarter turns."""
    codes = torch.randint(8, (images.shape[0],), generator=generator).tolist()
    return torch.stack([turned(image, code) for image, code in zip(images, codes, strict=True)])


def recoloured(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Other stain strengths, brightness, contrast and sharpness, each patch on its own.

    Args:
        images: RGB in [0, 1], (B, 3, H, W).
        config: Spreads; 0 switches a change off.
        generator: On the CPU; the draws are moved to the device.
    """
    count = images.shape[0]
    if config.stain > 0:
        images = _restained(images, _uniform((count, 3, 2), config.stain, generator).to(images.device))
    if config.contrast > 0:
        factor = 1 + _uniform((count, 1, 1, 1), config.contrast, generator).to(images.device)
        mean = images.mean(dim=(2, 3), keepdim=True)
        images = mean + factor * (images - mean)
    if config.brightness > 0:
        images = images * (1 + _uniform((count, 1, 1, 1), config.brightness, generator).to(images.device))
    if config.blur > 0:
        chosen = (torch.rand(count, generator=generator) < config.blur).to(images.device)
        smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        images = torch.where(chosen[:, None, None, None], smooth, images)
    return images.clamp(0, 1)


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


def _uniform(shape: tuple[int, ...], spread: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * spread


def _restained(images: Tensor, change: Tensor) -> Tensor:
    """HED jitter: strengths times (1 + change[..., 0]), plus change[..., 1] / 10 where there is tissue to stain."""
    stains = torch.tensor(_STAINS, device=images.device)
    stains = F.normalize(stains, dim=1)
    density = -torch.log(images.clamp(min=_LEAST_LIGHT))
    strengths = torch.einsum("brhw,rs->bshw", density, torch.linalg.inv(stains))
    strengths = strengths * (1 + change[:, :, 0, None, None]) + 0.1 * change[:, :, 1, None, None] * (strengths > 0.05)
    return torch.exp(-torch.einsum("bshw,sr->brhw", strengths, stains))
