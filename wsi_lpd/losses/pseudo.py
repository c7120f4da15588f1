"""Self-training: positions that the averaged weights classify with confidence are targets for the scores there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsi_lpd.losses.counts import average_count, summed_count


def pseudo_loss(class_maps: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Cross-entropy over the classes at the positions of a pseudo mask, averaged over classes and then over maps.

    The image-level loss depends only on a map's mean and accepts blurred outlines; a confident, label-gated mask
    constrains every position. All classes weigh the same: in a mean over positions, the class that wins most of them
    would be taught most, and win even more.

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
