"""Prototypes moved by hand: far apart within their class once the features mean something, and dead ones revived."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.methods.kmeans import spherical_kmeans
from wsi_lpd.models.network import LpdNetwork, NetworkOutput

_LEAST_POSITIONS_EACH = 8
_FIT_STEPS = 100
_FIT_RATE = 0.2


def class_features(output: NetworkOutput, mask: Tensor) -> list[list[Tensor]]:
    """Unit features of the positions of each class at the coarsest scale.

    Args:
        output: Of one forward pass.
        mask: True where a position surely belongs to a class, (B, C, h, w) at the finest scale.

    Returns:
        Per class and scale (N_c, D_s); finer scales are averaged to the coarsest.
    """
    size = (output.features[-1].shape[-2], output.features[-1].shape[-1])
    coarse = F.adaptive_avg_pool2d(mask.float(), size) > 0.5
    units = [
        F.normalize(F.adaptive_avg_pool2d(F.normalize(f.detach().float(), dim=1), size), dim=1).permute(0, 2, 3, 1)
        for f in output.features
    ]
    return [[unit[coarse[:, c]] for unit in units] for c in range(mask.shape[1])]


def spread_prototypes(
    network: LpdNetwork, output: NetworkOutput, mask: Tensor, *, generator: torch.Generator
) -> list[int]:
    """Moves the prototypes of each class to the k-means centres of its features, at all scales together.

    Args:
        network: Its `prototypes.vectors` are changed; the heads are not.
        output: Of one forward pass.
        mask: As in `class_features`.
        generator: On the CPU.

    Returns:
        The classes that had enough positions to be moved.
    """
    per_class = network.prototypes.vectors.shape[1]
    targets: dict[tuple[int, int], list[Tensor]] = {}
    for c, scales in enumerate(class_features(output, mask)):
        if len(scales[0]) < _LEAST_POSITIONS_EACH * per_class:
            continue
        _, nearest = spherical_kmeans(torch.cat(scales, dim=1), per_class, generator=generator)
        for k in range(per_class):
            targets[c, k] = [F.normalize(points[nearest == k].mean(dim=0), dim=0) for points in scales]
    _fit(network, targets)
    return sorted({c for c, _ in targets})


def revive_prototypes(
    network: LpdNetwork, output: NetworkOutput, mask: Tensor, *, least_usage: float, temperature: float
) -> list[tuple[int, int]]:
    """Moves each prototype that takes less than `least_usage` of its class to the position its siblings fit worst.

    Args:
        network: As in `spread_prototypes`.
        output: Of one forward pass.
        mask: As in `class_features`.
        least_usage: Share of the class's positions.
        temperature: Of the softmax that shares a position out between prototypes.

    Returns:
        The (class, prototype) pairs that were moved.
    """
    per_class = network.prototypes.vectors.shape[1]
    targets: dict[tuple[int, int], list[Tensor]] = {}
    for c, scales in enumerate(class_features(output, mask)):
        if len(scales[0]) < _LEAST_POSITIONS_EACH * per_class:
            continue
        cosines = [points @ network.prototypes.projected(s)[c].detach().T for s, points in enumerate(scales)]
        mean = torch.stack(cosines).mean(dim=0)
        usage = (mean / temperature).softmax(dim=1).mean(dim=0)
        for k in (usage < least_usage).nonzero().flatten().tolist():
            worst = int(mean.amax(dim=1).argmin())
            targets[c, k] = [points[worst] for points in scales]
            mean[worst] = 1.0  # the next dead one goes elsewhere
    _fit(network, targets)
    return sorted(targets)


def _fit(network: LpdNetwork, targets: dict[tuple[int, int], list[Tensor]]) -> None:
    """Changes the chosen vectors until their projections point to their targets; a few dozen small matrices."""
    if not targets:
        return
    prototypes = network.prototypes
    rows = torch.tensor(list(targets), device=prototypes.vectors.device)
    wanted = [torch.stack(points) for points in zip(*targets.values(), strict=True)]
    vectors = prototypes.vectors.detach()[rows[:, 0], rows[:, 1]].clone().requires_grad_()
    optimizer = torch.optim.Adam([vectors], lr=_FIT_RATE)
    with torch.enable_grad():
        for _ in range(_FIT_STEPS):
            cosines = [
                F.cosine_similarity(head(vectors), goal) for head, goal in zip(prototypes.heads, wanted, strict=True)
            ]
            (gradient,) = torch.autograd.grad(-torch.stack(cosines).sum(), vectors)
            vectors.grad = gradient
            optimizer.step()
    with torch.no_grad():
        prototypes.vectors[rows[:, 0], rows[:, 1]] = vectors.detach()
