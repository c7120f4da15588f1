"""Diversity: the K prototypes of a class should respond to different positions of that class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.losses.counts import average_count, summed, summed_count

MIN_POSITIONS = 8
_CLOSED = -1e4


def diversity_loss(similarity: Tensor, class_mask: Tensor, *, temperature: float) -> Tensor:
    """Mean overlap of two prototypes' activations within their class: 1 for equal ones, near 0 for disjoint ones.

    For prototype k of class c, `v_k = softmax_n(a_k / temperature)` over the positions n of the class; the overlap of
    two is `exp(-J / 2)` with Jeffreys' divergence `J = KL(v_i || v_j) + KL(v_j || v_i)`, averaged over pairs and over
    the (patch, class) cells that hold at least `MIN_POSITIONS` positions. This is ProtoSeg's term
    (arXiv 2301.12276) with ONE softmax; LPD's published code applies a second one, which makes the term constant.

    Args:
        similarity: Cosine similarities, (B, C, K, N) or (B, C, K, h, w).
        class_mask: True where a position belongs to the class, (B, C, N) or (B, C, h, w); no gradient flows to it.
        temperature: Of the softmax; cosines need about 0.1 to span a useful range.

    Returns:
        A scalar in [0, 1] with a graph; 0 where no cell is valid or K is 1. Computed in float32.
    """
    activation, mask = _flat(similarity, class_mask)
    valid = mask.sum(-1) >= MIN_POSITIONS
    if activation.shape[2] == 1 or not valid.numel():
        return activation.sum() * 0.0
    closed = torch.zeros_like(mask, dtype=activation.dtype).masked_fill_(~mask, _CLOSED)
    logits = torch.add(closed[:, :, None], activation, alpha=1 / temperature)
    divergence = jeffreys(logits.softmax(dim=-1), activation) / temperature
    overlap = mean_over_pairs(torch.exp(-divergence / 2))
    return (overlap * valid).sum() / average_count(valid.sum())


def jeffreys(v: Tensor, log_v: Tensor) -> Tensor:
    """Jeffreys' divergence of every pair of distributions, `KL(v_i || v_j) + KL(v_j || v_i)`.

    It equals `sum_n (v_i - v_j) (log v_i - log v_j)`. A constant added to one distribution's logarithms cancels, as
    both sum to 1: logits serve as well as logarithms, and one matrix product computes everything.

    Args:
        v: Probabilities over positions, (..., K, N), 0 where a position does not count.
        log_v: Their logarithms, or logits; finite everywhere.

    Returns:
        (..., K, K), symmetric, 0 on the diagonal.
    """
    cross = v @ log_v.transpose(-1, -2)
    own = cross.diagonal(dim1=-2, dim2=-1)
    return own[..., :, None] + own[..., None, :] - cross - cross.transpose(-1, -2)


def mean_over_pairs(values: Tensor) -> Tensor:
    """Mean of the off-diagonal values, (..., K, K) to (...); K is 2 or more."""
    n = values.shape[-1]
    return (values.sum(dim=(-2, -1)) - values.diagonal(dim1=-2, dim2=-1).sum(-1)) / (n * (n - 1))


def correlation_loss(similarity: Tensor, class_mask: Tensor) -> Tensor:
    """Another form: mean squared positive correlation of two prototypes' activations within their class.

    The first published version divides the correlations by the number of positions, which makes them vanish. Only the
    positive part counts, so that prototypes that avoid each other are not pulled together.

    Args:
        similarity: As in `diversity_loss`.
        class_mask: As in `diversity_loss`.

    Returns:
        As `diversity_loss`.
    """
    activation, mask = _flat(similarity, class_mask)
    n_prototypes = activation.shape[2]
    count = mask.sum(-1)
    valid = count >= MIN_POSITIONS
    if n_prototypes == 1 or not valid.numel():
        return activation.sum() * 0.0
    inside = mask[:, :, None]
    mean = (activation * inside).sum(-1, keepdim=True) / count.clamp(min=1)[:, :, None, None]
    unit = F.normalize((activation - mean) * inside, dim=-1)
    correlation = torch.einsum("bckn,bcjn->bckj", unit, unit)
    overlap = mean_over_pairs(correlation.relu().square())
    return (overlap * valid).sum() / average_count(valid.sum())


def usage_loss(similarity: Tensor, class_mask: Tensor, *, temperature: float) -> Tensor:
    """Guard against dead prototypes: `KL(uniform || u)` of the share of a class that each prototype takes.

    `u_k` is the mean over all positions of the class in the batch (of all processes) of `softmax_k(a / temperature)`.

    Args:
        similarity: As in `diversity_loss`.
        class_mask: As in `diversity_loss`.
        temperature: Of the softmax over prototypes.

    Returns:
        A scalar >= 0 with a graph, averaged over the classes that occur; 0 where none does or K is 1.
    """
    activation, mask = _flat(similarity, class_mask)
    share = (activation / temperature).softmax(dim=2) * mask[:, :, None]
    count = summed_count(mask.sum(dim=(0, 2)))
    usage = summed(share.sum(dim=(0, 3))) / count.clamp(min=1)[:, None]
    n_prototypes = activation.shape[2]
    divergence = -(usage.clamp(min=1e-6) * n_prototypes).log().mean(-1)
    present = count >= MIN_POSITIONS
    return (divergence * present).sum() / present.sum().clamp(min=1)


def _flat(similarity: Tensor, class_mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, K, N) in float32 (the terms are differences of logarithms, which half precision loses) and (B, C, N)."""
    return similarity.float().flatten(3), class_mask.detach().flatten(2).bool()
