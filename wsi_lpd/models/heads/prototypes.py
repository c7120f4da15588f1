"""Learnable class prototypes: what LPD compares every position of a patch with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAX_SCALE = 100.0
REFINER_DIM = 128
_LEAST_SQUARE = 1e-24


class Prototypes(nn.Module):
    """K learnable vectors for each of C classes, projected to the width of every scale.

    One vector per prototype is shared by all scales; each scale has a head of its own (Linear, ReLU, Linear, as in
    LPD, arXiv 2512.05922), and so has the similarity refiner. Comparing PROJECTED prototypes everywhere is a
    repair: the published code compares raw ones with features they are not aligned to.
    """

    def __init__(
        self,
        *,
        n_classes: int,
        per_class: int,
        dim: int,
        channels: Sequence[int],
        initial_scale: float,
        fixed: bool = False,
        projected: bool = True,
        merge: Literal["softmax", "published", "maximum"] = "softmax",
    ) -> None:
        """Without `projected` they are compared as they are: `dim` is then the width of every scale."""
        super().__init__()
        self._merge = merge
        vectors = torch.empty(n_classes * per_class, dim)
        nn.init.orthogonal_(vectors)  # spread: equal prototypes get no gradient from any diversity term
        self.vectors = nn.Parameter(
            vectors.reshape(n_classes, per_class, dim) * math.sqrt(dim), requires_grad=not fixed
        )
        self.heads = nn.ModuleList(_head(dim, width) if projected else nn.Identity() for width in channels)
        self.refiner_head = _head(dim, REFINER_DIM)
        self.log_scales = nn.Parameter(torch.full((len(channels),), math.log(initial_scale)), requires_grad=projected)
        self.offsets = nn.Parameter(torch.zeros(len(channels), n_classes), requires_grad=projected)

    def projected(self, scale: int) -> Tensor:
        """Unit prototypes of one scale, (C, K, D_s)."""
        return F.normalize(self.heads[scale](self.vectors), dim=-1)

    def refined(self) -> Tensor:
        """Unit prototypes in the space of the similarity refiner, (C, K, `REFINER_DIM`)."""
        return F.normalize(self.refiner_head(self.vectors), dim=-1)

    def similarity(self, features: Tensor, scale: int) -> Tensor:
        """Cosine similarity of every position to every prototype, in [-1, 1].

        Args:
            features: Encoder features of this scale, (B, D_s, h, w).
            scale: Index into the scales in use.

        Returns:
            (B, C, K, h, w).
        """
        prototypes = self.projected(scale)
        flat = features.flatten(2)
        dots = prototypes.flatten(0, 1) @ flat
        # Dividing the C K products is cheaper than normalising the D features. Squares overflow in half precision.
        length = flat.float().square().sum(dim=1, keepdim=True).clamp(min=_LEAST_SQUARE).sqrt()
        return (dots / length).reshape(len(flat), *prototypes.shape[:2], *features.shape[2:])

    def class_maps(self, similarity: Tensor, scale: int) -> Tensor:
        """Logits per class and position: a soft maximum over the K prototypes, the same in training and test.

        `M = logsumexp_k(g a) - log K + b`, with g = exp(learnt) at most `MAX_SCALE` and an offset b per class. A soft
        MAXIMUM per position rewards prototypes that share a class out between them; the mean of the published
        code makes each pay for the positions of its siblings. With `merge="published"`: that mean in training, and in
        test the weighted maximum `sum_k softmax_k(g a) g a`, which lies above it. With `merge="maximum"`: `g max_k a`,
        and no less than 0.

        Args:
            similarity: Result of `similarity`, (B, C, K, h, w).
            scale: Index into the scales in use.

        Returns:
            (B, C, h, w).
        """
        scaled = self.factor(scale) * similarity
        if self._merge == "softmax":
            maps = torch.logsumexp(scaled, dim=2) - math.log(similarity.shape[2])
        elif self._merge == "maximum":
            maps = scaled.amax(dim=2).relu()
        elif self.training:
            maps = scaled.mean(dim=2)
        else:
            maps = (scaled.softmax(dim=2) * scaled).sum(dim=2)
        return maps + self.offsets[scale][None, :, None, None]

    def factor(self, scale: int) -> Tensor:
        """What the cosines of one scale are multiplied by, a scalar of at most `MAX_SCALE`."""
        return self.log_scales[scale].exp().clamp(max=MAX_SCALE)


def _head(dim: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, width))
