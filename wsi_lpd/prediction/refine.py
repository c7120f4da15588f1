"""Moves the outlines of a probability map to the edges of the picture; nothing is learnt and no label is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

RefinementName = Literal["none", "pamr", "guided"]

_DILATIONS_PX = (1, 2, 4, 8)
"""Distances of neighbours in model pixels. The authors' 12 and 24 suit objects of photographs; they reach across small
regions of tissue."""
_ITERATIONS = 10
_BANDWIDTH = 0.1
_LEAST_DEVIATION = 1e-8
_RADIUS_PX = 8
_EPSILON = 1e-3
_CHUNK_VALUES = 2**25
"""Floats that the weights of one chunk of images may take, 128 MiB."""
_CPU_CHUNK_VALUES = 2**22
"""The same on processors: every iteration reads all weights again, and what lies in the cache comes two to three times
as fast."""


def refine(probabilities: Tensor, images: Tensor, *, method: RefinementName, stride: int = 1) -> Tensor:
    """Probabilities that follow the edges of the images.

    A constant map is left as it is, whatever the image. `pamr` replicates borders, `guided` leaves them out of means.
    How far a position looks is a matter of model pixels, whatever the stride of the map.

    Args:
        probabilities: One distribution over C + 1 label-map values per position, (B, C + 1, h, w) float32.
        images: What lies there, RGB in [0, 1], (B, 3, h, w), on the same device.
        method: `pamr` is pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020, with the bandwidth of their
            code); `guided` is the guided filter with a colour guide (He, Sun and Tang, TPAMI 2013); `none` hands the
            probabilities back.
        stride: Model pixels per map pixel.

    Returns:
        (B, C + 1, h, w), in [0, 1], summing to 1 over the channels.

    Raises:
        ValueError: If the shapes do not fit.
    """
    if images.shape != (len(probabilities), 3, *probabilities.shape[-2:]):
        raise ValueError(f"images of shape {tuple(images.shape)} do not fit maps of shape {tuple(probabilities.shape)}")
    match method:
        case "none":
            return probabilities
        case "pamr":
            return _in_chunks(probabilities, images, _dilations(stride, images))
        case "guided":
            return _guided(probabilities, images, max(1, _RADIUS_PX // stride))
        case _:
            assert_never(method)


def _dilations(stride: int, images: Tensor) -> list[int]:
    """Distances of neighbours in map pixels, each once; one that no two positions of the map are apart is left out."""
    return sorted(d for d in {max(1, px // stride) for px in _DILATIONS_PX} if d < min(images.shape[-2:]))


def _in_chunks(probabilities: Tensor, images: Tensor, dilations: list[int]) -> Tensor:
    """`_pamr`, a few images at a time: it holds one weight per neighbour and position."""
    if not dilations:
        return probabilities
    height, width = images.shape[-2:]
    values = _CPU_CHUNK_VALUES if images.device.type == "cpu" else _CHUNK_VALUES
    count = max(1, values // (8 * len(dilations) * height * width))
    parts = zip(torch.split(probabilities, count), torch.split(images, count), strict=True)
    return torch.cat([_pamr(p, x, dilations) for p, x in parts])


def _pamr(probabilities: Tensor, images: Tensor, dilations: list[int]) -> Tensor:
    """Each position becomes a mean of its neighbours, weighted by how much they look like it, several times over."""
    weights = _affinity(images, dilations)  # (B, 8 D, h, w)
    for _ in range(_ITERATIONS):
        mean = torch.zeros_like(probabilities)
        for n, neighbour in enumerate(_neighbours(probabilities, dilations)):
            mean.addcmul_(weights[:, n : n + 1], neighbour)
        probabilities = mean / mean.sum(dim=1, keepdim=True)
    return probabilities


def _affinity(images: Tensor, dilations: list[int]) -> Tensor:
    """Softmax over the neighbours of `-mean_rgb |x_i - x_j| / (0.1 sigma_i)`, (B, 8 D, h, w).

    sigma is the standard deviation of the neighbours and, once per dilation, the position itself.
    """
    count = 9 * len(dilations)
    mean = len(dilations) * images
    for neighbour in _neighbours(images, dilations):
        mean += neighbour
    mean /= count
    squares = len(dilations) * (images - mean).square()
    for neighbour in _neighbours(images, dilations):
        squares += (neighbour - mean).square()
    bandwidth = _BANDWIDTH * (squares / (count - 1)).sqrt() + _LEAST_DEVIATION
    distances = [((images - neighbour).abs() / bandwidth).mean(dim=1) for neighbour in _neighbours(images, dilations)]
    return torch.stack(distances, dim=1).neg().softmax(dim=1)


def _neighbours(maps: Tensor, dilations: list[int]) -> Iterator[Tensor]:
    """`maps` (B, X, h, w) seen from each position's 8 neighbours at each distance, borders replicated."""
    height, width = maps.shape[-2:]
    margin = max(dilations)
    padded = F.pad(maps, [margin] * 4, mode="replicate")
    for distance in dilations:
        for y in (margin - distance, margin, margin + distance):
            for x in (margin - distance, margin, margin + distance):
                if (y, x) != (margin, margin):
                    yield padded[..., y : y + height, x : x + width]


def _guided(probabilities: Tensor, images: Tensor, radius: int) -> Tensor:
    """In every box the map is a linear function of the colours; a position gets the mean of its boxes' functions."""
    guide = images - images.mean(dim=(2, 3), keepdim=True)  # less cancellation in the covariance
    mean_guide, mean_map = _box_mean(guide, radius), _box_mean(probabilities, radius)
    squares = _box_mean(guide[:, :, None] * guide[:, None], radius)  # (B, 3, 3, h, w)
    covariance = squares - mean_guide[:, :, None] * mean_guide[:, None]
    products = _box_mean(guide[:, :, None] * probabilities[:, None], radius)  # (B, 3, C + 1, h, w)
    joint = products - mean_guide[:, :, None] * mean_map[:, None]
    ridge = _EPSILON * torch.eye(3, dtype=guide.dtype, device=guide.device)
    slope = torch.linalg.solve(covariance.permute(0, 3, 4, 1, 2) + ridge, joint.permute(0, 3, 4, 1, 2))
    slope = slope.permute(0, 3, 4, 1, 2)
    offset = mean_map - (slope * mean_guide[:, :, None]).sum(dim=1)
    filtered = (_box_mean(slope, radius) * guide[:, :, None]).sum(dim=1) + _box_mean(offset, radius)
    filtered = filtered.clamp(min=0)
    return filtered / filtered.sum(dim=1, keepdim=True)


def _box_mean(maps: Tensor, radius: int) -> Tensor:
    """Mean over the box around each position, over what of it lies on the map; (B, ..., h, w)."""
    flat = maps.flatten(1, -3)
    return F.avg_pool2d(flat, 2 * radius + 1, 1, radius, count_include_pad=False).reshape(maps.shape)
