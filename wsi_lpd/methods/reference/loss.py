"""The published LPD recipe as its code stands, each defect a switch of the configuration section `reference`."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsi_lpd.config import Config
from wsi_lpd.errors import ConfigError
from wsi_lpd.losses.published import published_diversity, published_refiner, select_maps
from wsi_lpd.methods.base import Losses, Method, Step
from wsi_lpd.methods.frozen import frozen_encoder
from wsi_lpd.methods.reference import ReferenceConfig
from wsi_lpd.methods.terms import image_terms, ramp
from wsi_lpd.models.activation import stretched_to_one
from wsi_lpd.models.encoders.build import Encoder
from wsi_lpd.models.heads.prototypes import REFINER_DIM
from wsi_lpd.models.network import LpdNetwork, NetworkOutput

_BACKGROUND_SCORE = 0.2
_BIAS_DEVIATION = 0.02
"""As wide as the weights of a transformer begin."""


class LpdReference(Method):
    """Classification; after the warm-up, abruptly, the published diversity and refiner terms."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = config.own(ReferenceConfig)
        self.decays_everything = self.settings.decay_everything
        self.oracle_gate = self.settings.oracle_gate
        self._eye: _FrozenEye | None = None

    def prepare(self, network: LpdNetwork, patches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Refuses prototypes that the published diversity could not compare with features.

        Raises:
            ConfigError: If their lengths differ.
        """
        length, width = network.prototypes.vectors.shape[2], network.encoder.channels[-1]
        if self.settings.raw_prototypes and length != width:
            raise ConfigError(
                f"reference.raw_prototypes compares prototypes of length {length} with features of {width} channels; "
                f"set model.prototype_dim={width}, or reference.raw_prototypes=false"
            )

    def losses(self, step: Step) -> Losses:
        """All terms for one batch."""
        weights = self.config.loss
        output = step.student(step.images)
        terms = image_terms(step, output, weights)
        strength = ramp(step.progress, weights)
        if strength > 0:
            if weights.diversity_weight > 0:
                terms["diversity"] = strength * weights.diversity_weight * self._diversity(step, output)
            if weights.similarity_weight > 0:
                terms["similarity"] = strength * weights.similarity_weight * self._refiner(step, output)
        return Losses(terms)

    def _diversity(self, step: Step, output: NetworkOutput) -> Tensor:
        switches = self.settings
        similarity = output.similarity[-1]
        if switches.raw_prototypes:
            similarity = _raw_similarity(step.network, output)
        return published_diversity(
            similarity,
            self._regions(output, step.labels),
            double_softmax=switches.double_softmax,
            no_temperature=switches.no_temperature,
            class_offset=switches.class_offset,
        )

    def _regions(self, output: NetworkOutput, labels: Tensor) -> Tensor:
        """The published pseudo mask: 0 background, i + 1 class i, (B, h, w), at the coarsest scale."""
        switches = self.settings
        scores = output.class_maps[-1].detach().float()
        if not switches.raw_background_score:
            scores = stretched_to_one(scores)
        if not switches.ungated_mask:
            scores = scores.masked_fill((labels == 0)[:, :, None, None], -1e4)
        highest, winner = scores.max(dim=1)
        return torch.where(highest > _BACKGROUND_SCORE, winner + 1, 0)

    def _refiner(self, step: Step, output: NetworkOutput) -> Tensor:
        switches = self.settings
        if self._eye is None:
            self._eye = self._built(step)
        factor = step.network.prototypes.factor(len(output.similarity) - 1)
        images = (step.images - step.network.mean) / step.network.std
        selection = select_maps(
            factor * output.similarity[-1].float(),
            step.labels,
            (images.shape[-2], images.shape[-1]),
            image_threshold=switches.image_threshold,
            raw_crops=switches.raw_crops,
        )
        seen = images[selection.image]
        maps, inside = selection.maps[:, None], selection.inside[:, None]
        crops = torch.cat([seen * maps * inside, seen * (1 - maps) * (1 - inside)])
        foreground, background = (self._eye(crops) if len(crops) else crops.flatten(1)).chunk(2)
        prototypes = step.network.prototypes
        return published_refiner(
            foreground,
            background,
            prototypes.vectors if switches.raw_prototypes else prototypes.refined(),
            selection,
            step.labels,
            siblings=switches.sibling_negatives,
        )

    def _built(self, step: Step) -> _FrozenEye:
        width = self.config.model.prototype_dim if self.settings.raw_prototypes else REFINER_DIM
        encoder = frozen_encoder(self.config, step.images.device, scale=step.network.encoder.scales[-1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.train.seed)
            eye = _FrozenEye(encoder, width)
            if self.config.model.weights == "none":
                _give_biases(eye.encoder)
            return eye.to(step.images.device)


class _FrozenEye(nn.Module):
    """The published refiner's second encoder: never trained, with a random last layer (L10)."""

    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.channels[-1], width)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, D) of normalised images (n, 3, H, W)."""
        features: Tensor = self.head(self.encoder(images)[-1].mean(dim=(2, 3)))
        return features


def _give_biases(encoder: Encoder) -> None:
    """Draws the biases of a random encoder with layer norms, where they begin as zeros.

    The refiner's crops are blank outside their region. Zeros stay zeros up to a layer norm, which divides them by
    nothing: the gradient of every norm is 1,000 times as large as the one behind it, and soon not finite. Trained
    encoders have biases.
    """
    if not any(isinstance(module, nn.LayerNorm) for module in encoder.modules()):
        return
    for module in encoder.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
            nn.init.normal_(module.bias, std=_BIAS_DEVIATION)


def _raw_similarity(network: LpdNetwork, output: NetworkOutput) -> Tensor:
    """L5: cosines of features with prototypes that nothing aligns to them, (B, C, K, h, w)."""
    features, vectors = output.features[-1], network.prototypes.vectors
    return torch.einsum("bdhw,ckd->bckhw", F.normalize(features, dim=1), F.normalize(vectors, dim=-1))


Learning = LpdReference
