"""Losses for masks that are partly wrong: a pixel that contradicts the rest of the training weighs less."""

from __future__ import annotations

import math
from typing import Final, Literal, assert_never

import torch
from torch import Tensor

from wsi_lpd.losses.counts import average_count
from wsi_lpd.types import IGNORE

PixelLoss = Literal["cross-entropy", "generalized", "symmetric"]

_REVERSE_LOG: Final = -4.0
"""Stands for the logarithm of 0 in the symmetric loss, as its authors choose for noisy labels."""
_SYMMETRIC_ALPHA: Final = 0.1
"""Weight of its cross-entropy; the weight of its reverse cross-entropy is 1."""
_LEAST_LOG: Final = math.log(1e-7)


def pixel_loss(
    logits: Tensor, target: Tensor, *, form: PixelLoss, exponent: float, weight: Tensor | None = None
) -> Tensor:
    """Loss over the pixels of a mask.

    Args:
        logits: Channel i belongs to label-map value i, (B, V, h, w).
        target: Values of the mask, 255 where it is undecided, (B, h, w).
        form: `cross-entropy`, -log p of the target; `generalized`, (1 - p^q) / q (Zhang and Sabuncu, NeurIPS 2018);
            `symmetric`, -0.1 log p + 4 (1 - p) (Wang et al., ICCV 2019, A = -4).
        exponent: q in (0, 1].
        weight: Of every pixel, (B, h, w), at least 0; None = 1.

    Returns:
        A scalar: the mean over decided pixels, 0 with a graph where there is none. A weight lowers a pixel's part in
        the sum, not the count, so that a mask that is uncertain everywhere weighs little.
    """
    decided = target != IGNORE
    index = torch.where(decided, target, torch.zeros_like(target)).long()
    log_p = logits.float().log_softmax(dim=1).gather(1, index[:, None])[:, 0].clamp(min=_LEAST_LOG)
    match form:
        case "cross-entropy":
            cost = -log_p
        case "generalized":
            cost = (1 - (exponent * log_p).exp()) / exponent
        case "symmetric":
            cost = -_SYMMETRIC_ALPHA * log_p - _REVERSE_LOG * (1 - log_p.exp())
        case _:
            assert_never(form)
    share = decided if weight is None else decided * weight
    return (cost * share).sum() / average_count(decided.sum())
