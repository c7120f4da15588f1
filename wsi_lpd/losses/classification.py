"""Image-level classification, and the losses of the background and of absent classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.losses.counts import average_count

UNLABELLED = -1
_CLOSED = -1e4


def classification_loss(
    class_logits: Sequence[Tensor],
    labels: Tensor,
    *,
    scale_weights: Sequence[float],
    positive_weights: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """Binary cross-entropy of the image logits at every scale, summed with the weights of the scales.

    Args:
        class_logits: One (B, C) per scale.
        labels: 1, 0 or -1 (not labelled: no loss), (B, C).
        scale_weights: One number per scale.
        positive_weights: Weight of a positive per class, (C,).
        smoothing: Labels become `smoothing` and `1 - smoothing`.

    Returns:
        A scalar; the mean over labelled cells, 0 with a graph where nothing is labelled.
    """
    labelled = labels != UNLABELLED
    target = labels.clamp(min=0).float() * (1 - 2 * smoothing) + smoothing
    count = average_count(labelled.sum())
    total = class_logits[0].sum() * 0.0
    for logits, weight in zip(class_logits, scale_weights, strict=True):
        cell = F.binary_cross_entropy_with_logits(logits.float(), target, pos_weight=positive_weights, reduction="none")
        total = total + weight * (cell * labelled).sum() / count
    return total


def positive_weights(labels: Tensor, *, limit: float = 10.0) -> Tensor:
    """Weight of the positives of each class: the square root of negatives per positive, between 1 and `limit`.

    Args:
        labels: 1, 0 or -1, (N, C).
        limit: Largest weight.

    Returns:
        (C,) float32. The square root is a compromise: the full ratio over-calls rare classes.
    """
    positives = (labels == 1).sum(0).float()
    negatives = (labels == 0).sum(0).float()
    return (negatives / positives.clamp(min=1)).sqrt().clamp(1.0, limit)


def background_loss(class_maps: Tensor, background: Tensor, glass: Tensor) -> Tensor:
    """Teaches the background score without labels: glass is recognised by its brightness.

    Args:
        class_maps: Fused logits, (B, C, h, w).
        background: Logit of the background, a scalar or (B, 1, h, w).
        glass: Share of glass of every position in [0, 1], (B, h, w).

    Returns:
        Cross-entropy of "background or any class"; a scalar. Glass and tissue weigh the same, however rare glass is.
    """
    tissue_logit = torch.logsumexp(class_maps.float(), dim=1) - background.float().reshape(-1, 1, 1)
    is_glass = glass > 0.5
    counts = average_count(torch.stack([is_glass.sum(), (~is_glass).sum()]))
    weight = torch.where(is_glass, 0.5 / counts[0], 0.5 / counts[1])
    cell = F.binary_cross_entropy_with_logits(tissue_logit, 1 - glass.float(), reduction="none")
    return (cell * weight).sum()


def exclusion_loss(
    class_maps: Sequence[Tensor], background: Tensor, labels: Tensor, *, scale_weights: Sequence[float]
) -> Tensor:
    """Holds a class that is labelled absent to be absent everywhere: `-log(1 - sum of p_c over absent c)`.

    The pooled loss acts on the mean over positions only, and leaves peaks of absent classes standing; this term uses
    all that a negative image label says. The probabilities are one softmax over the classes and the background.

    Args:
        class_maps: Logits per scale, (B, C, h_s, w_s).
        background: Its logit, a scalar.
        labels: 1, 0 (absent) or -1 (not labelled: may be anywhere), (B, C).
        scale_weights: One number per scale.

    Returns:
        A scalar: the mean over positions, summed with the weights of the scales.
    """
    absent = (labels == 0)[:, :, None, None]
    total = class_maps[0].sum() * 0.0
    for maps, weight in zip(class_maps, scale_weights, strict=True):
        rest = background.float().expand(len(maps), 1, *maps.shape[2:])
        allowed = torch.cat([rest, maps.float().masked_fill(absent, _CLOSED)], dim=1)
        everything = torch.cat([rest, maps.float()], dim=1)
        total = total + weight * (torch.logsumexp(everything, 1) - torch.logsumexp(allowed, 1)).mean()
    return total
