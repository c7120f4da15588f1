"""The similarity refiner: what a class map covers should resemble that class's prototypes and no absent class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.losses.counts import average_count

_CLOSED = -1e4  # not -inf: the gradient of a logsumexp over nothing but -inf is NaN


def masked_average(features: Tensor, masks: Tensor) -> Tensor:
    """Mean feature under each soft mask.

    Args:
        features: (B, D, h, w).
        masks: Weights >= 0, (B, C, h, w).

    Returns:
        (B, C, D) in float32, whatever the type of the features.
    """
    masks = masks.float()
    weighted = torch.einsum("bdhw,bchw->bcd", features.float(), masks)
    return weighted / masks.sum(dim=(2, 3)).clamp(min=1e-6)[..., None]


def similarity_loss(
    pooled: Tensor, prototypes: Tensor, *, present: Tensor, absent: Tensor, temperature: float
) -> Tensor:
    """Contrasts the pooled feature of every present class: its own prototypes against those of absent classes.

    Multi-positive InfoNCE: `-log sum_{k of c} e^{s/t} / (sum_{k of c} e^{s/t} + sum_{k of absent} e^{s/t})`. Prototypes
    of the same class and of other classes in the patch are not negatives (in the published code they are, which
    pushes apart prototypes that should describe the same tissue). Pooling replaces the published second encoder pass
    over masked images.

    Args:
        pooled: Unit features, (B, C, R).
        prototypes: Unit prototypes in the same space, (C, K, R).
        present: True where the class has a positive label and a mask, (B, C).
        absent: True where the class has a negative label, (B, C).
        temperature: Of the contrast.

    Returns:
        A scalar; 0 with a graph where no patch has both a present and an absent class.
    """
    n_classes = prototypes.shape[0]
    score = torch.einsum("bcr,ekr->bcek", F.normalize(pooled, dim=-1), prototypes).float() / temperature
    per_class = torch.logsumexp(score, dim=-1)  # (B, C, E): class c's feature against the prototypes of class e
    own = per_class.diagonal(dim1=1, dim2=2)
    closed = ~absent[:, None, :].expand(-1, n_classes, -1)
    others = torch.logsumexp(per_class.masked_fill(closed, _CLOSED), dim=-1)
    usable = present & absent.any(dim=1, keepdim=True)
    gap = torch.where(usable, others - own, torch.zeros_like(own))
    return (F.softplus(gap) * usable).sum() / average_count(usable.sum())
