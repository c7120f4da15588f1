"""The second stage's network: an encoder and a decoder that says of every position which label-map value it has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsi_lpd.config import Config, ModelConfig
from wsi_lpd.models.encoders.blueprint import Blueprint
from wsi_lpd.models.encoders.build import Encoder, build_encoder
from wsi_lpd.models.network import NetworkOutput, TissueNetwork

_PRESENT_SHARE = 0.05
"""A class that covers this share of a patch is as likely called present as absent, before calibration; the tiler labels
it so."""
_LEAST_SHARE = 1e-4


class SegformerHead(nn.Module):
    """The all-MLP decoder of SegFormer (Xie et al., NeurIPS 2021).

    There every scale is projected to one width and enlarged, and one layer fuses them. Nothing lies between the two, so
    here they are one linear map per scale, applied before it is enlarged: the same at a small part of the cost.
    """

    def __init__(self, channels: tuple[int, ...], n_outputs: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(depth, width, 1, bias=False) for depth in channels)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout2d(dropout)
        self.out = nn.Conv2d(width, n_outputs, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits (B, n_outputs, h, w) at the size of the first of the maps (B, D_s, h_s, w_s)."""
        size = features[0].shape[-2:]
        fused = self.projections[0](features[0])
        for project, maps in zip(self.projections[1:], features[1:], strict=True):
            fused = fused + F.interpolate(project(maps), size=size, mode="bilinear", align_corners=False)
        logits: Tensor = self.out(self.dropout(F.relu(self.norm(fused))))
        return logits


class DecoderNetwork(TissueNetwork):
    """Encoder and decoder; what they say needs no gate, as every position was taught on its own."""

    wants_gate = False

    def __init__(self, encoder: Encoder, head: nn.Module, config: ModelConfig) -> None:
        super().__init__(encoder, config)
        self.head = head

    def forward(self, images: Tensor, *, mosaic: int = 1, maps: Sequence[Tensor] | None = None) -> NetworkOutput:
        """Decodes the features of every image."""
        features = self.adapted(images, mosaic=mosaic, maps=maps)
        logits = self.head(features)
        background, classes = logits[:, :1], logits[:, 1:]
        image_logits = share_logits(logits, 1)[:, :, 0, 0]
        return NetworkOutput(
            features=features,
            similarity=[],
            class_maps=[classes],
            class_logits=[image_logits],
            fused_maps=classes,
            fused_logits=image_logits,
            background=background,
        )

    def map_logits(self, output: NetworkOutput, presence: Tensor) -> Tensor:
        """The logits as they were decoded."""
        return torch.cat([output.background, output.fused_maps], dim=1).float()

    def part_logits(self, output: NetworkOutput, side: int) -> Tensor:
        """How much of every part each class covers, as `share_logits` tells it."""
        return share_logits(torch.cat([output.background, output.fused_maps], dim=1), side)


def share_logits(logits: Tensor, side: int) -> Tensor:
    """Image logits of `side` x `side` parts of maps (B, C + 1, h, w) by what each class covers, (B, C, side, side).

    The logit of the mean probability, moved so that it is 0 where a class covers `_PRESENT_SHARE`.
    """
    share = F.adaptive_avg_pool2d(logits.float().softmax(dim=1)[:, 1:], side).clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)
    return share.logit() - torch.tensor(_PRESENT_SHARE).logit()


def build_decoder(config: Config, *, n_classes: int, blueprint: Blueprint | None = None) -> DecoderNetwork:
    """An encoder with its weights, and a fresh head; arguments as of `build_network`.

    Raises:
        ModelError: If the encoder, its weights or the head cannot be had.
    """
    model, decoder = config.model, config.decoder
    encoder = build_encoder(
        model.encoder,
        weights=model.weights,
        last_stride=model.last_stride,
        scales=model.scales,
        blueprint=blueprint,
    )
    if decoder.head == "mask2former":
        from wsi_lpd.models.heads.mask2former import Mask2FormerHead  # an optional package comes with it

        return DecoderNetwork(encoder, Mask2FormerHead(encoder, n_classes + 1, width=decoder.width), model)
    head = SegformerHead(encoder.channels, n_classes + 1, width=decoder.width, dropout=decoder.dropout)
    return DecoderNetwork(encoder, head, model)
