"""UAM (Kang et al., IEEE Transactions on Medical Imaging 2025), reconstructed: unbiased activation maps.

Of the source only the abstract and its numbers were at hand and no code is known; what they leave open is ours
(docs/methods.md says which part is which).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsi_lpd.config import Config, ModelConfig
from wsi_lpd.losses.counts import average_count
from wsi_lpd.methods.base import Losses, Method, Place, Step
from wsi_lpd.methods.glass import glass_share
from wsi_lpd.methods.kmeans import spherical_kmeans
from wsi_lpd.methods.terms import first_step, image_terms, ramp
from wsi_lpd.methods.uam import ASSIGNMENT, UamConfig
from wsi_lpd.models.activation import stretched_to_one

_MOST_POINTS = 20_000
"""Per class; centres of more hardly differ."""


class Uam(Method):
    """A linear classifier, and beside it a head that learns which cluster of its class every position belongs to.

    Once an epoch the features of each class are clustered. A class's map is how close a position comes to the nearest
    of its centres: a map that owes nothing to what the classifier finds telling.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = config.own(UamConfig)
        self._seed = config.train.seed

    @classmethod
    def parts(cls, config: ModelConfig, *, n_classes: int, channels: Sequence[int]) -> Mapping[str, nn.Module]:
        """The head that guesses the cluster of every position, C K logits from the coarsest map."""
        return {ASSIGNMENT: nn.Conv2d(channels[-1], n_classes * config.prototypes_per_class, 1)}

    def losses(self, step: Step) -> Losses:
        """Classification, background and, once there are clusters, their assignment."""
        output = step.student(step.images)
        terms = image_terms(step, output, self.config.loss)
        strength, weight = ramp(step.progress, self.config.loss), self.settings.assignment_weight
        if strength > 0 and weight > 0:
            similarity = step.teacher(step.images).similarity[-1]
            targets = nearest_centres(similarity, step.labels, _is_tissue(step.clean, similarity))
            guesses = step.network.get_submodule(ASSIGNMENT)(output.features[-1])
            terms[ASSIGNMENT] = strength * weight * assignment_loss(guesses, targets)
        return Losses(terms)

    def rearranges(self, place: Place) -> bool:
        """When the warm-up ends, and from then on once an epoch."""
        first = first_step(place, self.config.loss)
        return place.index == first or (place.index > first and place.index % place.per_epoch == 0)

    def rearrange(self, step: Step, place: Place) -> bool:
        """Clusters the features of every class anew, from its last centres on; those of too few positions stay."""
        vectors = step.network.prototypes.vectors
        is_first = place.index == first_step(place, self.config.loss)
        generator = torch.Generator().manual_seed(self._seed)
        moved = False
        for c, points in enumerate(_class_features(step, least=self.settings.least_activation)):
            if len(points) >= vectors.shape[1]:
                begin = None if is_first else vectors[c].detach()
                centres, _ = spherical_kmeans(points, vectors.shape[1], generator=generator, first=begin)
                with torch.no_grad():
                    vectors[c] = centres
                moved = True
        return moved


def nearest_centres(similarity: Tensor, labels: Tensor, tissue: Tensor) -> Tensor:
    """The cluster of every position: the nearest centre of the classes on the label.

    Args:
        similarity: To the centres, (B, C, K, h, w).
        labels: 1, 0 or -1 (not labelled: no class of the patch), (B, C).
        tissue: False where a position has no cluster, (B, h, w).

    Returns:
        Class-major index c K + k, or -1 for none, (B, h, w).
    """
    is_present = labels == 1
    open_only = similarity.masked_fill(~is_present[:, :, None, None, None], -2.0)
    nearest = open_only.flatten(1, 2).argmax(dim=1)
    return nearest.masked_fill(~(tissue & is_present.any(dim=1)[:, None, None]), -1)


def assignment_loss(guesses: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the guessed cluster, the mean over the positions that have one.

    Args:
        guesses: Logits, (B, C K, h, w).
        targets: Result of `nearest_centres`.
    """
    total = F.cross_entropy(guesses.float(), targets, ignore_index=-1, reduction="sum")
    return total / average_count((targets >= 0).sum())


def _class_features(step: Step, *, least: float) -> list[Tensor]:
    """Unit features of the averaged weights at the last stage, (N_c, D) per class, at most `_MOST_POINTS` each.

    Of patches that hold one class alone every position counts, of others those where the class's stretched map is above
    `least`; glass never does.
    """
    kept = [_Thinned() for _ in range(step.labels.shape[1])]
    for images, labels in step.patches():
        output = step.teacher(images)
        features = F.normalize(output.features[-1].float(), dim=1).permute(0, 2, 3, 1)
        is_present = (labels == 1)[:, :, None, None]
        is_alone = ((labels == 1).sum(1) == 1) & ((labels == 0).sum(1) == labels.shape[1] - 1)
        active = stretched_to_one(output.class_maps[-1].float()) > least
        members = is_present & (active | is_alone[:, None, None, None]) & _is_tissue(images, active)[:, None]
        for c, points in enumerate(kept):
            points.add(features[members[:, c]])
    return [points.found() for points in kept]


def _is_tissue(images: Tensor, like: Tensor) -> Tensor:
    return glass_share(images, (like.shape[-2], like.shape[-1])) < 0.5


class _Thinned:
    """Every n-th of the points that come by, n a power of two that keeps them below `_MOST_POINTS`."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._stride = 1
        self._skip = 0

    def add(self, points: Tensor) -> None:
        self._parts.append(points[self._skip :: self._stride])
        self._skip = (self._skip - len(points)) % self._stride
        while sum(map(len, self._parts)) > _MOST_POINTS:
            together = torch.cat(self._parts)
            if len(together) % 2:  # the next one to keep would have been skipped
                self._skip += self._stride
            self._parts, self._stride = [together[::2]], 2 * self._stride

    def found(self) -> Tensor:
        return torch.cat(self._parts) if self._parts else torch.empty(0, 0)


Learning = Uam
