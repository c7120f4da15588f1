"""What LPD minimises: named terms, their weights over time, and their sum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.config import LossConfig
from wsi_lpd.losses.classification import background_loss, classification_loss, exclusion_loss
from wsi_lpd.losses.diversity import diversity_loss, usage_loss
from wsi_lpd.losses.similarity import masked_average, similarity_loss
from wsi_lpd.models.activation import pseudo_mask, with_background
from wsi_lpd.models.network import LpdNetwork, NetworkOutput

TERMS = ("classification", "exclusion", "background", "diversity", "usage", "similarity")


@dataclass(frozen=True)
class Losses:
    """Terms as they enter the sum, weights included; all scalars."""

    classification: Tensor
    exclusion: Tensor
    background: Tensor
    diversity: Tensor
    usage: Tensor
    similarity: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return sum((getattr(self, name) for name in TERMS), start=torch.zeros_like(self.classification))

    def values(self) -> dict[str, float]:
        """Every term and the sum as numbers (waits for the device)."""
        terms = {name: getattr(self, name).detach() for name in TERMS} | {"loss": self.total.detach()}
        numbers = torch.stack(list(terms.values())).tolist()
        return dict(zip(terms, numbers, strict=True))


def ramp(progress: float, config: LossConfig) -> float:
    """Share of full weight of the mask-based terms after `progress` (0 to 1) of training."""
    if progress < config.start:
        return 0.0
    if config.ramp == 0:
        return 1.0
    return min(1.0, (progress - config.start) / config.ramp)


def lpd_losses(
    network: LpdNetwork,
    output: NetworkOutput,
    teacher: NetworkOutput | None,
    *,
    labels: Tensor,
    glass: Tensor,
    positive_weights: Tensor,
    strength: float,
    config: LossConfig,
) -> Losses:
    """All terms for one batch.

    Args:
        network: The network that made `output`.
        output: Of the weights in training.
        teacher: Of the averaged weights on the same images; None before the mask-based terms start.
        labels: 1, 0 or -1, (B, C).
        glass: Share of glass at the positions of the fused maps, (B, h, w).
        positive_weights: (C,).
        strength: Result of `ramp`.
        config: Weights and temperatures.
    """
    zero = output.fused_logits.sum() * 0.0
    classification = classification_loss(
        output.class_logits,
        labels,
        scale_weights=config.scale_weights,
        positive_weights=positive_weights,
        smoothing=config.label_smoothing,
    )
    background = config.background_weight * background_loss(output.fused_maps, output.background, glass)
    exclusion = config.exclusion_weight * exclusion_loss(
        output.class_maps, output.background, labels, scale_weights=config.scale_weights
    )
    if teacher is None:
        return Losses(classification, exclusion, background, diversity=zero, usage=zero, similarity=zero)
    mask = pseudo_mask(
        teacher.fused_maps,
        teacher.background,
        labels,
        confidence=config.pseudo_confidence,
        margin=config.pseudo_margin,
    )
    diversity, usage = _prototype_terms(output, mask, config)
    return Losses(
        classification,
        exclusion,
        background,
        diversity=strength * config.diversity_weight * diversity,
        usage=strength * config.usage_weight * usage,
        similarity=strength * config.similarity_weight * _similarity_term(network, output, labels, config),
    )


def _prototype_terms(output: NetworkOutput, mask: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Diversity and usage, each the mean over the scales."""
    diversity, usage = [], []
    for similarity in output.similarity:
        at_scale = _pooled(mask.float(), similarity) > 0.5
        diversity.append(diversity_loss(similarity, at_scale, temperature=config.diversity_temperature))
        usage.append(usage_loss(similarity, at_scale, temperature=config.diversity_temperature))
    return torch.stack(diversity).mean(), torch.stack(usage).mean()


def _similarity_term(network: LpdNetwork, output: NetworkOutput, labels: Tensor, config: LossConfig) -> Tensor:
    features = output.features[-1]
    share = with_background(output.fused_maps, output.background).softmax(dim=1)[:, 1:]
    masks = _pooled(share, features)
    pooled = network.refiner(masked_average(features, masks))
    return similarity_loss(
        pooled,
        network.prototypes.refined(),
        present=labels == 1,
        absent=labels == 0,
        temperature=config.similarity_temperature,
    )


def _pooled(maps: Tensor, like: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over the positions of a coarser map."""
    return F.adaptive_avg_pool2d(maps, (like.shape[-2], like.shape[-1]))
