"""Terms that several methods share: from one forward pass to scalars."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.config import Config, LossConfig
from wsi_lpd.losses.classification import background_loss, classification_loss, exclusion_loss
from wsi_lpd.losses.diversity import correlation_loss, diversity_loss, usage_loss
from wsi_lpd.losses.pseudo import pseudo_loss
from wsi_lpd.losses.similarity import masked_average, similarity_loss
from wsi_lpd.methods.base import Place, Step
from wsi_lpd.methods.frozen import frozen_encoder
from wsi_lpd.methods.glass import glass_share
from wsi_lpd.models.activation import with_background
from wsi_lpd.models.encoders.build import Encoder
from wsi_lpd.models.network import NetworkOutput


def ramp(progress: float, config: LossConfig) -> float:
    """Share of full weight of the mask-based terms after `progress` (0 to 1) of training."""
    if progress < config.start:
        return 0.0
    if config.ramp == 0:
        return 1.0
    return min(1.0, (progress - config.start) / config.ramp)


def first_step(place: Place, config: LossConfig) -> int:
    """The first step after the warm-up; rounded, as 0.2 * 30 is more than 6 for a computer."""
    return math.ceil(round(config.start * place.total, 6))


def image_terms(step: Step, output: NetworkOutput, config: LossConfig) -> dict[str, Tensor]:
    """What the image-level labels and the glass say: classification, exclusion and background, those with a weight."""
    terms = {
        "classification": classification_loss(
            output.class_logits,
            step.labels,
            scale_weights=config.scale_weights,
            positive_weights=step.positive_weights,
            smoothing=config.label_smoothing,
        )
    }
    if config.exclusion_weight > 0:
        terms["exclusion"] = config.exclusion_weight * exclusion_loss(
            output.class_maps, output.background, step.labels, scale_weights=config.scale_weights
        )
    if config.background_weight > 0:
        glass = glass_share(step.clean, (output.fused_maps.shape[-2], output.fused_maps.shape[-1]))
        terms["background"] = config.background_weight * background_loss(output.fused_maps, output.background, glass)
    return terms


def mask_terms(output: NetworkOutput, mask: Tensor, config: LossConfig, *, strength: float) -> dict[str, Tensor]:
    """What a label-gated pseudo mask allows: pseudo, diversity and usage, the last two as means over the scales.

    Args:
        output: Of the weights in training.
        mask: True where a position surely belongs to a class, (B, C, h, w) at the finest scale.
        config: Weights and temperatures.
        strength: Result of `ramp`.
    """
    at_scales = [pooled(mask.float(), similarity) > 0.5 for similarity in output.similarity]
    terms: dict[str, Tensor] = {}
    if config.pseudo_weight > 0:
        maps = [output.fused_maps, *output.class_maps]
        terms["pseudo"] = strength * config.pseudo_weight * pseudo_loss(maps, [mask, *at_scales])
    softmax = partial(diversity_loss, temperature=config.diversity_temperature)
    losses = {
        "diversity": (config.diversity_weight, softmax if config.diversity_form == "jeffreys" else correlation_loss),
        "usage": (config.usage_weight, partial(usage_loss, temperature=config.diversity_temperature)),
    }
    for name, (weight, loss) in losses.items():
        if weight > 0:
            per_scale = [loss(a, here) for a, here in zip(output.similarity, at_scales, strict=True)]
            terms[name] = strength * weight * torch.stack(per_scale).mean()
    return terms


class Refiner:
    """The similarity refiner: contrast of what each class map covers with prototypes of present and absent classes."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._frozen: Encoder | None = None

    def __call__(self, step: Step, output: NetworkOutput) -> Tensor:
        """The term for one batch, without its weight."""
        features = self._features(step, output)
        share = with_background(output.fused_maps, output.background).softmax(dim=1)[:, 1:]
        averages = step.network.refiner(masked_average(features, pooled(share, features)))
        return similarity_loss(
            averages,
            step.network.prototypes.refined(),
            present=step.labels == 1,
            absent=step.labels == 0,
            temperature=self._config.loss.similarity_temperature,
        )

    def _features(self, step: Step, output: NetworkOutput) -> Tensor:
        """Maps of the coarsest scale, (B, D, h, w)."""
        if self._config.loss.refiner == "own":
            return output.features[-1]
        if self._frozen is None:
            self._frozen = frozen_encoder(self._config, step.images.device, scale=step.network.encoder.scales[-1])
        with torch.no_grad():
            maps: list[Tensor] = self._frozen((step.images - step.network.mean) / step.network.std)
        return maps[-1]


def pooled(maps: Tensor, like: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over the positions of a coarser map."""
    height, width = like.shape[-2], like.shape[-1]
    if maps.shape[-2] % height or maps.shape[-1] % width:
        return F.adaptive_avg_pool2d(maps, (height, width))
    # The same numbers, but its gradient has a deterministic form on a GPU.
    return F.avg_pool2d(maps, (maps.shape[-2] // height, maps.shape[-1] // width))
