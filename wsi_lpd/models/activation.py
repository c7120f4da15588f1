"""From class maps to decisions: probabilities, the gate, and the pseudo mask that training stands on."""

from __future__ import annotations

import torch
from torch import Tensor

_CLOSED = -1e4
_LEAST_PROBABILITY = 1e-4
_LEAST_SCORE = 1e-6
_RELATIVE_BACKGROUND_POWER = 10


def with_background(class_maps: Tensor, background: Tensor) -> Tensor:
    """Class maps (B, C, h, w) behind the background's logit, (B, C + 1, h, w): channel i is label-map value i."""
    batch, _, height, width = class_maps.shape
    return torch.cat([background.to(class_maps).reshape(1, 1, 1, 1).expand(batch, 1, height, width), class_maps], dim=1)


def stretched_to_one(maps: Tensor) -> Tensor:
    """Positive part of each map, stretched to [0, 1] over its positions, (B, C, h, w); a flat map becomes 0."""
    positive = maps.relu()
    lowest, highest = positive.amin(dim=(2, 3), keepdim=True), positive.amax(dim=(2, 3), keepdim=True)
    return (positive - lowest) / (highest - lowest + 1e-6)


def relative_logits(stretched: Tensor, presence: Tensor) -> Tensor:
    """Logits of relative scores: `log M_c` for the classes, `10 log(1 - max_c p_c M_c)` for the background before them.

    Args:
        stretched: M in [0, 1], (B, C, h, w).
        presence: p in [0, 1], (B, C, 1, 1).

    Returns:
        (B, C + 1, h, w).
    """
    rest = (1 - (presence * stretched).amax(dim=1, keepdim=True)).clamp(min=_LEAST_SCORE)
    return torch.cat([_RELATIVE_BACKGROUND_POWER * rest.log(), stretched.clamp(min=_LEAST_SCORE).log()], dim=1)


def gate_factor(probability: Tensor) -> Tensor:
    """What the soft gate multiplies a class's weight by: p, bounded below so that no class is closed for ever.

    With p in {0, 1} this is the oracle's gate, with p = 1 no gate: one code path serves all three.

    Args:
        probability: That the class occurs nearby, any shape.
    """
    return probability.clamp(min=_LEAST_PROBABILITY)


def label_probabilities(logits: Tensor, presence: Tensor | None = None) -> Tensor:
    """Probability of every label-map value at every position.

    First tissue or background: the background against all classes together, which is how it was trained. Then which
    tissue: one softmax over the classes, each with its gate. An unsure gate so moves class against class and never
    turns tissue into background.

    Args:
        logits: Channel i is label-map value i, background first, (B, C + 1, h, w).
        presence: Probability that each class occurs nearby, (B, C, h, w) or (B, C, 1, 1); None = no gate.

    Returns:
        (B, C + 1, h, w), summing to 1.
    """
    background, classes = logits[:, :1], logits[:, 1:]
    highest = classes.amax(dim=1, keepdim=True)
    weights = (classes - highest).exp()
    total = weights.sum(dim=1, keepdim=True)
    tissue = total / (total + (background - highest).exp())
    if presence is not None:
        weights = weights * gate_factor(presence)
        total = weights.sum(dim=1, keepdim=True)
    return torch.cat([1 - tissue, weights * (tissue / total)], dim=1)


def labels_of(probabilities: Tensor) -> Tensor:
    """Label-map values, uint8 (B, h, w): background where it has more than half, else the likeliest class."""
    background, highest, *others = probabilities.unbind(1)
    labels = torch.ones_like(highest, dtype=torch.uint8)
    # One class after another: over a dimension of few, max takes three times as long, and argmax twenty.
    for value, of_class in enumerate(others, start=2):
        is_higher = (of_class > highest).view(torch.uint8)
        labels = torch.maximum(labels, is_higher * value)
        highest = torch.maximum(highest, of_class)
    return labels * (background <= 0.5)


def image_probability(class_logits: Tensor, *, temperature: Tensor, offset: Tensor) -> Tensor:
    """Calibrated probability that a class occurs in a patch, `sigmoid((y - offset) / temperature)`, (B, C)."""
    return torch.sigmoid((class_logits - offset) / temperature)


@torch.no_grad()
def pseudo_mask(class_maps: Tensor, background: Tensor, labels: Tensor, *, confidence: float, margin: float) -> Tensor:
    """Positions that surely belong to a class of the label; everything else is left out rather than called background.

    Args:
        class_maps: Fused logits of the averaged weights, (B, C, h, w).
        background: Its logit, a scalar.
        labels: 1, 0 or -1 (not labelled), (B, C). A class labelled 0 is closed; an unlabelled one competes but
            gets no position.
        confidence: Least probability of the winner.
        margin: Least lead of the winner over the runner-up, in probability.

    Returns:
        True where position n belongs to class c, at most one class per position, (B, C, h, w).
    """
    closed = (labels == 0)[:, :, None, None]
    logits = with_background(class_maps.float().masked_fill(closed, _CLOSED), background.float())
    values, indices = logits.softmax(dim=1).topk(2, dim=1)
    best, runner_up = values.unbind(1)
    sure = (best > confidence) & (best - runner_up > margin)
    winner = indices[:, 0]
    n_classes = class_maps.shape[1]
    one_hot = winner[:, None] == torch.arange(1, n_classes + 1, device=winner.device)[None, :, None, None]
    return one_hot & sure[:, None] & (labels == 1)[:, :, None, None]
