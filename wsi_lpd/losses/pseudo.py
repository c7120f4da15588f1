"""Self-training: positions whose class the averaged weights are sure of teach the positions' own scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsi_lpd.losses.counts import average_count, summed_count


def pseudo_loss(class_maps: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Cross-entropy over the classes at the positions of a pseudo mask, the mean over classes and then over maps.

    The image-level loss sees a map's mean alone and is content with blurred outlines; a label-gated, confident mask
    speaks position by position. Every class has the same say: in a mean over positions the class that wins most of
    them teaches most, and wins more.

    Args:
        class_maps: Logits, each (B, C, h_s, w_s).
        masks: True where a position belongs to a class, at most one per position, each (B, C, h_s, w_s).

    Returns:
        A scalar; each map's mean over the classes in its mask of the mean over their positions, 0 with a graph where
        there is none.
    """
    losses = []
    for maps, mask in zip(class_maps, masks, strict=True):
        log_share = maps.float().log_softmax(dim=1)
        counts = mask.sum(dim=(0, 2, 3))
        per_class = -(log_share * mask).sum(dim=(0, 2, 3)) / average_count(counts)
        losses.append(per_class.sum() / (summed_count(counts) > 0).sum().clamp(min=1))
    return torch.stack(losses).mean()
