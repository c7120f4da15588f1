"""Supervised contrast: features of one class close together, those of other classes apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.losses.counts import average_count

_CLOSED = -1e4


def supervised_contrast(features: Tensor, classes: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss (SupCon, arXiv 2004.11362, the mean outside the logarithm).

    For anchor i and the set P(i) of the others of its class: `-mean_{p in P(i)} log(e^{z_i z_p / t} / sum_{a != i}
    e^{z_i z_a / t})` with unit z, averaged over the anchors with a P that is not empty. With several processes, each
    compares within its own share of the batch.

    Args:
        features: Vectors of any length, (N, D).
        classes: Class of each, (N,).
        temperature: t.

    Returns:
        A scalar, in float32; 0 with a graph where no class has two.
    """
    unit = F.normalize(features.float(), dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / temperature).masked_fill(itself, _CLOSED)
    log_share = logits - torch.logsumexp(logits, dim=1, keepdim=True) if len(unit) else logits
    positives = (classes[:, None] == classes[None, :]) & ~itself
    count = positives.sum(dim=1)
    per_anchor = -(log_share * positives).sum(dim=1) / count.clamp(min=1)
    return per_anchor.sum() / average_count((count > 0).sum())
