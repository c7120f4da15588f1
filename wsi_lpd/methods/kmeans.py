"""Spherical k-means: centres of directions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_MOST_ROUNDS = 100


def spherical_kmeans(
    points: Tensor, k: int, *, generator: torch.Generator, first: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """K-means by cosine similarity, begun with far-apart points (k-means++).

    Args:
        points: Any length but zero, (N, D), N >= k.
        k: How many centres.
        generator: On the CPU; decides the first centres.
        first: Centres to begin with instead, (k, D).

    Returns:
        Unit centres (k, D), and the centre of every point (N,). A centre that loses all its points takes the point
        farthest from its own.

    Raises:
        ValueError: If there are fewer points than centres.
    """
    if len(points) < k:
        raise ValueError(f"{len(points)} points for {k} centres; at least {k} are needed")
    unit = F.normalize(points.float(), dim=1)
    centres = _far_apart(unit, k, generator) if first is None else F.normalize(first.float(), dim=1)
    nearest = torch.full((len(unit),), -1, device=unit.device)
    for _ in range(_MOST_ROUNDS):
        similarity = unit @ centres.T
        best, found = similarity.max(dim=1)
        for lost in (torch.bincount(found, minlength=k) == 0).nonzero().flatten().tolist():
            worst = int(best.argmin())
            found[worst], best[worst] = lost, 2.0  # above any cosine: the next lost centre takes another
        if torch.equal(found, nearest):
            break
        nearest = found
        sums = torch.zeros_like(centres).index_add_(0, nearest, unit)
        centres = F.normalize(sums, dim=1)
    return centres, nearest


def _far_apart(unit: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """The first centres: each is drawn with a chance that grows with its distance from those before it."""
    chosen = [int(torch.randint(len(unit), (), generator=generator))]
    for _ in range(k - 1):
        distance = (1 - (unit @ unit[chosen].T).amax(dim=1)).clamp(min=0).cpu()
        if float(distance.sum()) <= 0:  # all points are equal
            distance = torch.ones(len(unit))
        chosen.append(int(torch.multinomial(distance, 1, generator=generator)))
    return unit[chosen].clone()
