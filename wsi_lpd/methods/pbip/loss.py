"""PBIP (arXiv 2503.12068): prototypes are cluster centres of patch features, fixed before training begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from wsi_lpd.config import Config
from wsi_lpd.errors import TrainingError
from wsi_lpd.methods.base import Losses, Method, Step
from wsi_lpd.methods.kmeans import spherical_kmeans
from wsi_lpd.methods.terms import Refiner, image_terms, ramp
from wsi_lpd.models.network import LpdNetwork

_MOST_PATCHES = 512
"""Per class; centres of more hardly differ."""


class Pbip(Method):
    """Classification on a fixed bank, and the similarity refiner (here on pooled own features)."""

    @classmethod
    def from_config(cls, config: Config, class_names: Sequence[str], mask_weights: tuple[float, ...]) -> Self:
        """See `Method`."""
        return cls(config, class_names)

    def __init__(self, config: Config, class_names: Sequence[str]) -> None:
        self.config = config.loss
        self._refiner = Refiner(config)
        self._seed = config.train.seed
        self._class_names = tuple(class_names)

    def prepare(self, network: LpdNetwork, patches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fills the bank: per class, spherical k-means of the features of patches that hold that class alone.

        Features are those of the encoder as training finds it (random, or the weights that were asked for), averaged
        over the patch and projected at random to the length of a prototype, as the published recipe does.

        Raises:
            TrainingError: If a class has fewer such patches than prototypes.
        """
        vectors = network.prototypes.vectors
        n_classes, per_class, dim = vectors.shape
        generator = torch.Generator().manual_seed(self._seed)
        points = _features_of_single_class_patches(network, patches, n_classes)
        projection = nn.init.orthogonal_(torch.empty(dim, points[0].shape[1]), generator=generator)
        for c, found in enumerate(points):
            if len(found) < per_class:
                raise TrainingError(
                    f"class {self._class_names[c]}: {len(found)} patches are labelled with it alone, method pbip "
                    f"needs at least {per_class} for its bank; lower model.prototypes_per_class or choose another one"
                )
            centres, _ = spherical_kmeans(found @ projection.to(found).T, per_class, generator=generator)
            with torch.no_grad():
                vectors[c] = centres * dim**0.5

    def losses(self, step: Step) -> Losses:
        """Classification, background and the refiner."""
        output = step.student(step.images)
        terms = image_terms(step, output, self.config)
        strength = ramp(step.progress, self.config)
        if strength > 0 and self.config.similarity_weight > 0:
            terms["similarity"] = strength * self.config.similarity_weight * self._refiner(step, output)
        return Losses(terms)


@torch.no_grad()
def _features_of_single_class_patches(
    network: LpdNetwork, patches: Iterable[tuple[Tensor, Tensor]], n_classes: int
) -> list[Tensor]:
    """Mean features of the coarsest scale, (N_c, D) per class, of patches with that class and no other."""
    network.eval()
    found: list[list[Tensor]] = [[] for _ in range(n_classes)]
    for images, labels in patches:
        alone = ((labels == 1).sum(1) == 1) & ((labels == 0).sum(1) == n_classes - 1)
        if not alone.any():
            continue
        features = network(images[alone]).features[-1].mean(dim=(2, 3))
        for feature, c in zip(features, labels[alone].argmax(dim=1).tolist(), strict=True):
            if len(found[c]) < _MOST_PATCHES:
                found[c].append(feature)
    width = network.encoder.channels[-1]
    return [torch.stack(rows) if rows else torch.empty(0, width) for rows in found]


Learning = Pbip
