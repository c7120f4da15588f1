"""Changes to training patches, made on the device from one generator, so that a step can be repeated exactly.

Nothing here waits for the device: draws are made on the CPU and sent from pinned memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.config import ColourConfig
from wsi_lpd.models.views import turned
from wsi_lpd.training.processes import ALONE, Processes

# Optical density of haematoxylin, eosin and the residual in R, G, B (Ruifrok and Johnston, 2001).
_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
_LEAST_LIGHT = 1.0 / 256


@dataclass(frozen=True)
class Draws:
    """Random numbers for the batches of all processes together, of which each takes its share.

    Two processes so change their patches as one process with twice the batch does.

    Attributes:
        generator: On the CPU, in the same state in every process.
        processes: This process among the others.
    """

    generator: torch.Generator
    processes: Processes = ALONE

    def one(self) -> float:
        """A number in [0, 1), the same in every process."""
        return float(torch.rand((), generator=self.generator))

    def uniform(self, count: int, *shape: int) -> Tensor:
        """Numbers in [0, 1) for `count` patches, (count, *shape), on the CPU."""
        return self._share(torch.rand((count * self.processes.count, *shape), generator=self.generator), count)

    def below(self, limit: int, count: int) -> list[int]:
        """A whole number in 0 ... limit - 1 for each of `count` patches."""
        drawn = torch.randint(limit, (count * self.processes.count,), generator=self.generator)
        return self._share(drawn, count).tolist()

    def _share(self, of_all: Tensor, count: int) -> Tensor:
        return of_all[self.processes.rank * count :][:count]


def flipped(images: Tensor, codes: Sequence[int]) -> Tensor:
    """Each patch of (B, ..., S, S) in one of its eight flips and quarter turns; codes as in `wsi_lpd.models.views`."""
    return torch.stack([turned(image, code) for image, code in zip(images, codes, strict=True)])


def cropped(images: Tensor, least_area: float, side_px: int, draws: Draws) -> Tensor:
    """A random part of each patch, scaled to one size ("random resized crop", sides of 3:4 to 4:3).

    Args:
        images: (B, 3, S, S).
        least_area: Least share of the patch; shares are uniform from it to 1.
        side_px: Side of the result.
        draws: Of this step.

    Returns:
        (B, 3, side_px, side_px), bilinear.
    """
    count, device = images.shape[0], images.device
    area, shape, x, y = draws.uniform(count, 4).unbind(dim=1)
    area = least_area + (1 - least_area) * area
    stretch = (_spread(shape, math.log(4 / 3)) / 2).exp()
    width, height = ((area.sqrt() * side).clamp(max=1) for side in (stretch, 1 / stretch))
    to_patch = torch.zeros(count, 2, 3)  # from coordinates of the view to those of the patch, both -1 ... 1
    to_patch[:, 0, 0], to_patch[:, 1, 1] = width, height
    to_patch[:, 0, 2], to_patch[:, 1, 2] = (2 * x - 1) * (1 - width), (2 * y - 1) * (1 - height)
    grid = F.affine_grid(_sent(to_patch, device), [count, 3, side_px, side_px], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def recoloured(images: Tensor, config: ColourConfig, draws: Draws) -> Tensor:
    """Other stain strengths, brightness, contrast and sharpness, each patch on its own.

    Args:
        images: RGB in [0, 1], (B, 3, H, W).
        config: Spreads; 0 switches a change off.
        draws: Of this step.
    """
    count, device = images.shape[0], images.device
    if config.stain > 0:
        images = _restained(images, _sent(_spread(draws.uniform(count, 3, 2), config.stain), device))
    if config.contrast > 0:
        factor = _sent(1 + _spread(draws.uniform(count, 1, 1, 1), config.contrast), device)
        mean = images.mean(dim=(2, 3), keepdim=True)
        images = mean + factor * (images - mean)
    if config.brightness > 0:
        images = images * _sent(1 + _spread(draws.uniform(count, 1, 1, 1), config.brightness), device)
    if config.blur > 0:
        chosen = _sent(draws.uniform(count) < config.blur, device)
        smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        images = torch.where(chosen[:, None, None, None], smooth, images)
    return images.clamp(0, 1)


def _spread(drawn: Tensor, spread: float) -> Tensor:
    return (drawn * 2 - 1) * spread


def _sent(drawn: Tensor, device: torch.device) -> Tensor:
    """From pinned memory, as a copy from any other makes the host wait until the device has come so far."""
    return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn.to(device)


@functools.lru_cache(maxsize=8)
def _stains(device: torch.device) -> tuple[Tensor, Tensor]:
    """Unit stain vectors (stain, RGB), and their inverse (RGB, stain)."""
    stains = F.normalize(torch.tensor(_STAINS), dim=1)
    return stains.to(device), torch.linalg.inv(stains).to(device)


def _restained(images: Tensor, change: Tensor) -> Tensor:
    """HED jitter: strengths times (1 + change[..., 0]), plus change[..., 1] / 10 where there is tissue to stain."""
    stains, unmix = _stains(images.device)
    density = -torch.log(images.clamp(min=_LEAST_LIGHT))
    strengths = torch.einsum("brhw,rs->bshw", density, unmix)
    strengths = strengths * (1 + change[:, :, 0, None, None]) + 0.1 * change[:, :, 1, None, None] * (strengths > 0.05)
    return torch.exp(-torch.einsum("bshw,sr->brhw", strengths, stains))
