"""The network: an encoder, prototypes at several scales, class maps and image logits."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsi_lpd.config import ModelConfig
from wsi_lpd.models.activation import relative_logits, stretched_to_one, with_background
from wsi_lpd.models.encoders.blueprint import Blueprint
from wsi_lpd.models.encoders.build import Encoder, build_encoder
from wsi_lpd.models.heads.adapter import Adapter
from wsi_lpd.models.heads.knowledge import KnowledgeAttention
from wsi_lpd.models.heads.linear import LinearClassifier
from wsi_lpd.models.heads.prototypes import REFINER_DIM, Prototypes

MOSAIC_SIDE = 2
"""Patches side by side in a training mosaic, and windows are that many patches wide."""


class Parts(Protocol):
    """What builds the modules that a method adds to the network, by name."""

    def __call__(self, config: ModelConfig, *, n_classes: int, channels: Sequence[int]) -> Mapping[str, nn.Module]:
        """The modules; arguments as of `wsi_lpd.methods.base.Method.parts`."""


@dataclass(frozen=True)
class NetworkOutput:
    """What one forward pass gives, one entry per scale from fine to coarse; a decoder fuses its scales within."""

    features: list[Tensor]
    """(B, D_s, h_s, w_s)."""
    similarity: list[Tensor]
    """Cosines, (B, C, K, h_s, w_s); where a linear classifier is all there is, its logits with K = 1. A
    decoder has none."""
    class_maps: list[Tensor]
    """Logits whose means are the logits of the patch, (B, C, h_s, w_s)."""
    class_logits: list[Tensor]
    """Logits of the whole patch, (B, C)."""
    fused_maps: Tensor
    """Weighted mean of the class maps at the finest scale, (B, C, h, w); beside a classifier, of the maps that the
    centres give."""
    fused_logits: Tensor
    """Weighted mean of the image logits, (B, C)."""
    background: Tensor
    """Logit of the background, a scalar or (B, 1, h, w): the score a class map must beat."""


class TissueNetwork(nn.Module, ABC):
    """An encoder, and what makes maps of tissue classes from its features. It takes no label.

    Args:
        encoder: The encoder.
        config: Whether it is frozen, and adapted.

    Attributes:
        wants_gate: Whether a class should be weighed by the probability that it occurs nearby (`segment.gate=auto`).
        has_prototypes: Whether its maps come from prototypes.
    """

    mean: Tensor
    std: Tensor
    wants_gate = True
    has_prototypes = False

    def __init__(self, encoder: Encoder, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen = config.frozen
        if config.frozen:
            encoder.requires_grad_(False).eval()
        adapts = config.frozen or encoder.is_plain if config.adapter is None else config.adapter
        self.adapter = Adapter(encoder.channels, refines=encoder.is_plain) if adapts else None
        self.register_buffer("mean", torch.tensor(encoder.mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).reshape(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Self:
        """As of every module; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def maps(self, images: Tensor, *, mosaic: int = 1) -> list[Tensor]:
        """What the encoder says of images, one map (B, D_s, h_s, w_s) per scale.

        Those of a frozen encoder have no graph and are float32 with the digits of half precision, as they are cached: a
        network learns the same from a cache as without one, and sees the same afterwards.

        Args:
            images: RGB in [0, 1], (B, 3, H, W).
            mosaic: See `forward`.
        """
        with torch.no_grad() if self.frozen else nullcontext():
            normalised = (images - self.mean) / self.std
            maps = [taken_apart(f, mosaic) for f in self.encoder(put_together(normalised, mosaic))]
            return [halved(f).float() for f in maps] if self.frozen else maps

    def adapted(self, images: Tensor, *, mosaic: int, maps: Sequence[Tensor] | None) -> list[Tensor]:
        """What the maps of the classes are made from, (B, D_s, h_s, w_s); arguments as in `forward`."""
        features = self.maps(images, mosaic=mosaic) if maps is None else list(maps)
        return features if self.adapter is None else self.adapter(features)

    @abstractmethod
    def forward(self, images: Tensor, *, mosaic: int = 1, maps: Sequence[Tensor] | None = None) -> NetworkOutput:
        """Runs the network.

        Args:
            images: RGB in [0, 1], (B, 3, H, W).
            mosaic: The encoder sees `mosaic` x `mosaic` images as one, and what it says of each is taken apart again.
                An image then has strange neighbours, so that a position cannot lean on what the rest of the image
                holds; B must be a multiple of its square.
            maps: Result of `maps` for these images, where it is known already.
        """

    @abstractmethod
    def map_logits(self, output: NetworkOutput, presence: Tensor) -> Tensor:
        """What `label_probabilities` decides on, channel i for label-map value i, (B, C + 1, h, w).

        Args:
            output: Of one forward pass.
            presence: Probability that a class occurs in the window, (B, C); only relative scores read it.
        """

    @abstractmethod
    def part_logits(self, output: NetworkOutput, side: int) -> Tensor:
        """Image logits of the `side` x `side` parts of every image, (B, C, side, side); one part is the whole image."""

    def vectors(self) -> list[nn.Parameter]:
        """What a method sets by hand."""
        return []

    def with_encoder(self, encoder: nn.Module) -> Self:
        """The same network, parameters shared, with another module in the place of its encoder."""
        twin = copy.copy(self)
        twin._modules = {**self._modules, "encoder": encoder}
        return twin

    def learnt_state(self) -> dict[str, Tensor]:
        """What training changes: the tensors themselves, by name, without those of a frozen encoder."""
        state: dict[str, Tensor] = self.state_dict(keep_vars=True)
        return {name: value for name, value in state.items() if not (self.frozen and name.startswith("encoder."))}


class LpdNetwork(TissueNetwork):
    """Image-level classifier whose class maps are similarities to learnable prototypes.

    `model.prototypes` changes what the maps come from: a linear classifier has no `prototypes` at all, and centres of
    features have one beside them, whose maps the image logits pool. A method may add parts that only it trains.
    """

    prototypes: Prototypes
    fusion: Tensor

    def __init__(self, encoder: Encoder, *, n_classes: int, config: ModelConfig, parts: Parts | None = None) -> None:
        super().__init__(encoder, config)
        self.relative_scores = config.scores == "relative"
        self.has_prototypes = config.prototypes != "none"
        are_centres = config.prototypes == "centres"
        if self.has_prototypes:
            self.prototypes = Prototypes(
                n_classes=n_classes,
                per_class=config.prototypes_per_class,
                dim=encoder.channels[-1] if are_centres else config.prototype_dim,
                channels=encoder.channels,
                fixed=config.prototypes != "learnable",
                projected=not are_centres,
                merge=config.merge,
                initial_scale=config.initial_scale,
            )
        self.classifier: LinearClassifier | None = None
        if are_centres or not self.has_prototypes:
            self.classifier = LinearClassifier(n_classes=n_classes, channels=encoder.channels, dropout=config.dropout)
        own = {} if parts is None else parts(config, n_classes=n_classes, channels=encoder.channels)
        for name, part in own.items():
            self.add_module(name, part)
        self.knowledge: KnowledgeAttention | None = None
        if config.knowledge_dim > 0:
            self.knowledge = KnowledgeAttention(
                n_classes=n_classes, dim=config.knowledge_dim, width=encoder.channels[-1]
            )
        self.background = nn.Parameter(torch.zeros(()), requires_grad=config.background)
        self.refiner = nn.Linear(encoder.channels[-1], REFINER_DIM)
        weights = torch.tensor(config.fusion_weights)
        self.register_buffer("fusion", weights / weights.sum(), persistent=False)

    def forward(self, images: Tensor, *, mosaic: int = 1, maps: Sequence[Tensor] | None = None) -> NetworkOutput:
        """Compares every position with every prototype, at every scale."""
        features = self.adapted(images, mosaic=mosaic, maps=maps)
        if self.knowledge is not None:
            features[-1] = self.knowledge(features[-1])
        linear = [] if self.classifier is None else self.classifier(features)
        compared = [self.prototypes.similarity(f, s) for s, f in enumerate(features)] if self.has_prototypes else []
        compared_maps = [self.prototypes.class_maps(a, s) for s, a in enumerate(compared)]
        class_maps = linear or compared_maps
        class_logits = [maps.mean(dim=(2, 3)) for maps in class_maps]
        return NetworkOutput(
            features=features,
            similarity=compared or [maps[:, :, None] for maps in linear],
            class_maps=class_maps,
            class_logits=class_logits,
            fused_maps=self.fused(compared_maps or linear),
            fused_logits=torch.stack([w * y for w, y in zip(self.fusion, class_logits, strict=True)]).sum(0),
            background=self.background,
        )

    def vectors(self) -> list[nn.Parameter]:
        """What a method sets by hand: prototypes and knowledge, where the network has them."""
        prototypes = [self.prototypes.vectors] if self.has_prototypes else []
        return prototypes if self.knowledge is None else [*prototypes, self.knowledge.vectors]

    def fused(self, maps: Sequence[Tensor]) -> Tensor:
        """Weighted mean over the scales of (B, X, h_s, w_s) maps, bilinear at the size of the first."""
        size = maps[0].shape[-2:]
        total = self.fusion[0] * maps[0]
        for weight, coarse in zip(self.fusion[1:], maps[1:], strict=True):
            total = total + weight * F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        return total

    def map_logits(self, output: NetworkOutput, presence: Tensor) -> Tensor:
        """Absolute or relative scores (`model.scores`).

        Absolute scores are the logits as learnt, and comparable between windows. Relative ones are the published
        recipe: per window every class's map is stretched to [0, 1], so that each class is certain
        somewhere, and the background is `(1 - max)^10` of what is left over.
        """
        if not self.relative_scores:
            return with_background(output.fused_maps.float(), output.background.float())
        stretched = self.fused([stretched_to_one(maps.float()) for maps in output.class_maps])
        return relative_logits(stretched, presence[:, :, None, None])

    def part_logits(self, output: NetworkOutput, side: int) -> Tensor:
        """The class maps pooled over every part, weighted over the scales."""
        parts = [F.adaptive_avg_pool2d(maps, side) for maps in output.class_maps]
        return torch.stack([w * y for w, y in zip(self.fusion, parts, strict=True)]).sum(0)

    def raise_background(self, by: float) -> None:
        """Adds to the learnt scalar, once training has ended."""
        with torch.no_grad():
            self.background.add_(by)

    def fused_similarity(self, output: NetworkOutput) -> Tensor:
        """Cosines of `output`, weighted over the scales as the class maps are, (B, C, K, h, w)."""
        n_classes, n_prototypes = output.similarity[0].shape[1:3]
        fused = self.fused([similarity.flatten(1, 2) for similarity in output.similarity])
        return fused.reshape(len(fused), n_classes, n_prototypes, *fused.shape[-2:])


def halved(maps: Tensor) -> Tensor:
    """Maps in half precision; the few values beyond its range become its largest."""
    limit = torch.finfo(torch.float16).max
    return maps.clamp(-limit, limit).half()


def put_together(images: Tensor, side: int) -> Tensor:
    """(B, C, H, W) to (B / side^2, C, side H, side W): neighbours in the batch become neighbours in the picture."""
    batch, channels, height, width = images.shape
    grid = images.reshape(batch // side**2, side, side, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, side * height, side * width)


def taken_apart(maps: Tensor, side: int) -> Tensor:
    """The inverse of `put_together`."""
    batch, channels, height, width = maps.shape
    grid = maps.reshape(batch, channels, side, height // side, side, width // side)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, height // side, width // side)


def build_network(
    config: ModelConfig, *, n_classes: int, blueprint: Blueprint | None = None, parts: Parts | None = None
) -> LpdNetwork:
    """An encoder with its weights, and fresh prototypes for `n_classes` classes.

    Args:
        config: The network.
        n_classes: C.
        blueprint: What the encoder's name stands for, where it must not be looked up.
        parts: Builds what the method adds (`wsi_lpd.methods.base.Method.parts`).

    Raises:
        ModelError: If the encoder or its weights cannot be had.
    """
    encoder = build_encoder(
        config.encoder,
        weights=config.weights,
        last_stride=config.last_stride,
        scales=config.scales,
        blueprint=blueprint,
    )
    return LpdNetwork(encoder, n_classes=n_classes, config=config, parts=parts)
