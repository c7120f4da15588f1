"""LPD: learnable prototypes that share a class out between them."""

from __future__ import annotations

import torch
from torch import Tensor

from wsi_lpd.config import Config
from wsi_lpd.methods.base import Losses, Method, Place, Step
from wsi_lpd.methods.spread import revive_prototypes, spread_prototypes
from wsi_lpd.methods.terms import Refiner, first_step, image_terms, mask_terms, ramp
from wsi_lpd.models.activation import pseudo_mask
from wsi_lpd.models.network import NetworkOutput


class Lpd(Method):
    """Classification, exclusion and background from the start; the terms that need a pseudo mask after a warm-up."""

    def __init__(self, config: Config) -> None:
        self.config = config.loss
        self._refiner = Refiner(config)
        self._seed = config.train.seed

    def losses(self, step: Step) -> Losses:
        """All terms for one batch."""
        output = step.student(step.images)
        terms = image_terms(step, output, self.config)
        strength = ramp(step.progress, self.config)
        if strength > 0:
            terms |= mask_terms(output, self._mask(step, step.teacher(step.images)), self.config, strength=strength)
            if self.config.similarity_weight > 0:
                terms["similarity"] = strength * self.config.similarity_weight * self._refiner(step, output)
        return Losses(terms)

    def rearranges(self, place: Place) -> bool:
        """When the warm-up ends, and from then on once an epoch."""
        return self._spreads(place) or self._revives(place)

    def rearrange(self, step: Step, place: Place) -> bool:
        """Spreads the prototypes when the warm-up ends, and from then on revives dead ones once an epoch."""
        config = self.config
        with torch.no_grad():
            output = step.teacher(step.images)
            mask = self._mask(step, output)
        if self._spreads(place):
            generator = torch.Generator().manual_seed(self._seed)
            return bool(spread_prototypes(step.network, output, mask, generator=generator))
        return bool(
            revive_prototypes(
                step.network,
                output,
                mask,
                least_usage=config.revive_below,
                temperature=config.diversity_temperature,
            )
        )

    def _spreads(self, place: Place) -> bool:
        return self.config.spread and place.index == first_step(place, self.config)

    def _revives(self, place: Place) -> bool:
        once_an_epoch = place.index > first_step(place, self.config) and place.index % place.per_epoch == 0
        return self.config.revive_below > 0 and once_an_epoch

    def _mask(self, step: Step, teacher: NetworkOutput) -> Tensor:
        return pseudo_mask(
            teacher.fused_maps,
            teacher.background,
            step.labels,
            confidence=self.config.pseudo_confidence,
            margin=self.config.pseudo_margin,
        )


Learning = Lpd
