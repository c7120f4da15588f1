"""Self-training: positions whose class the averaged weights are sure of teach the positions' own scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsi_lpd.losses.counts import average_count


def pseudo_loss(class_maps: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Cross-entropy over the classes at the positions of a pseudo mask, the mean over maps.

    The image-level loss sees a map's mean alone and is content with blurred outlines; a label-gated, confident mask
    speaks position by position.

    Args:
        class_maps: Logits, each (B, C, h_s, w_s).
        masks: True where a position belongs to a class, at most one per position, each (B, C, h_s, w_s).

    Returns:
        A scalar; each map's mean over its masked positions, 0 with a graph where there is none.
    """
    losses = []
    for maps, mask in zip(class_maps, masks, strict=True):
        log_share = maps.float().log_softmax(dim=1)
        losses.append(-(log_share * mask).sum() / average_count(mask.sum()))
    return torch.stack(losses).mean()
