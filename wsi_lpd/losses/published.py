"""The loss terms of the published LPD code (arXiv 2512.05922), each of its defects a switch.

They serve as a baseline; ours are in `diversity.py` and `similarity.py`. L-numbers: docs/methods.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.losses.counts import average_count
from wsi_lpd.losses.diversity import jeffreys, mean_over_pairs

_TEMPERATURE = 0.1
_CONTRAST_TEMPERATURE = 0.07
_CLOSED = -1e4


def published_diversity(
    similarity: Tensor,
    regions: Tensor,
    *,
    double_softmax: bool,
    no_temperature: bool,
    class_offset: bool,
) -> Tensor:
    """Jeffreys overlap `exp(-J)` of the prototypes of each class, averaged over the classes found in an image.

    Args:
        similarity: Cosines of prototypes and positions, (B, C, K, h, w).
        regions: 0 background, i + 1 class i, (B, h, w).
        double_softmax: L3: a second softmax over the positions, which makes the term constant.
        no_temperature: L3: the (first) softmax has the temperature 1.
        class_offset: L2: class i is looked up at the value i, so that tumour prototypes learn from background.

    Returns:
        A scalar with a graph; images without classes count as 0.
    """
    n_classes, n_prototypes = similarity.shape[1:3]
    activation = similarity.float().flatten(3)
    values = torch.arange(n_classes, device=regions.device) + (0 if class_offset else 1)
    mask = regions.flatten(1)[:, None] == values[None, :, None]
    found = mask.any(-1)
    if n_prototypes == 1:
        return activation.sum() * 0.0
    outside = ~mask[:, :, None]
    first = F.log_softmax((activation / (1.0 if no_temperature else _TEMPERATURE)).masked_fill(outside, _CLOSED), -1)
    log_v = F.log_softmax(first.exp().masked_fill(outside, _CLOSED), -1) if double_softmax else first
    log_v = log_v.masked_fill(outside, 0.0)
    v = log_v.exp().masked_fill(outside, 0.0)
    overlap = mean_over_pairs(torch.exp(-jeffreys(v, log_v)))
    per_image = (overlap * found).sum(1) / found.sum(1).clamp(min=1)
    return per_image.mean()


@dataclass(frozen=True)
class Selection:
    """The prototypes that the refiner uses, and what their maps cover.

    Attributes:
        image: Index into the batch, (n,).
        prototype: Index into the C * K prototypes, class-major, (n,).
        maps: The activation of each, with which the crops are made, (n, H, W).
        inside: 1 where a map is above its threshold, (n, H, W).
    """

    image: Tensor
    prototype: Tensor
    maps: Tensor
    inside: Tensor


def select_maps(
    activation: Tensor, labels: Tensor, size: tuple[int, int], *, image_threshold: bool, raw_crops: bool
) -> Selection:
    """The maps of prototypes that respond above the mean of their class, in classes with a positive label.

    Args:
        activation: Scaled cosines of the coarsest scale, (B, C, K, h, w).
        labels: 1, 0 or -1, (B, C).
        size: Height and width of the images.
        image_threshold: L9: half of the highest activation of ALL maps of the image, which empties weaker ones.
        raw_crops: L11: crops are made with raw logits instead of their sigmoid.

    Returns:
        n may be 0.
    """
    _, n_classes, n_prototypes = activation.shape[:3]
    responses = activation.mean(dim=(3, 4))
    above = responses > responses.mean(dim=2, keepdim=True)
    image, c, k = (above & (labels == 1)[:, :, None]).nonzero(as_tuple=True)
    enlarged = F.interpolate(activation.flatten(1, 2), size=size, mode="bilinear", align_corners=True)
    enlarged = enlarged.reshape(len(activation), n_classes, n_prototypes, *size)
    chosen = enlarged[image, c, k]
    highest = enlarged.amax(dim=(1, 2, 3, 4))[image] if image_threshold else chosen.amax(dim=(1, 2))
    inside = (chosen >= 0.5 * highest[:, None, None]).float()
    return Selection(image, c * n_prototypes + k, chosen if raw_crops else chosen.sigmoid(), inside)


def published_refiner(
    foreground: Tensor, background: Tensor, prototypes: Tensor, selection: Selection, labels: Tensor, *, siblings: bool
) -> Tensor:
    """InfoNCE of what the chosen maps cover, and of the rest, against all other prototypes.

    Args:
        foreground: Features of the covered part, (n, D).
        background: Features of the rest, (n, D).
        prototypes: (C, K, D).
        selection: Result of `select_maps`.
        labels: 1, 0 or -1, (B, C).
        siblings: L12: prototypes of the same class, and of other classes of the image, are negatives.

    Returns:
        A scalar; 0 with a graph where nothing was chosen.
    """
    if not len(foreground):
        return prototypes.sum() * 0.0 / average_count(selection.image.new_zeros(()))
    n_classes, n_prototypes = prototypes.shape[:2]
    unit = F.normalize(prototypes.flatten(0, 1).float(), dim=-1)
    own = F.one_hot(selection.prototype, n_classes * n_prototypes).bool()
    absent = (labels == 0)[selection.image].repeat_interleave(n_prototypes, dim=1)
    others = ~own if siblings else absent
    front = F.normalize(foreground.float(), dim=-1) @ unit.T / _CONTRAST_TEMPERATURE
    rest = F.normalize(background.float(), dim=-1) @ unit.T / _CONTRAST_TEMPERATURE
    covered = torch.logsumexp(front.masked_fill(~(own | others), _CLOSED), 1) - front[own]
    left = torch.logsumexp(rest.masked_fill(~(own | others), _CLOSED), 1) - torch.logsumexp(
        rest.masked_fill(~others, _CLOSED), 1
    )
    usable = others.any(dim=1)
    return ((covered + left) * usable).sum() / average_count(usable.sum())
