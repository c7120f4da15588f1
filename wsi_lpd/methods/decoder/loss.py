"""The second stage: a decoder learns from pseudo masks, and from mosaics of patches that hold one class alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.config import Config, DecoderConfig
from wsi_lpd.losses.noisy import pixel_loss
from wsi_lpd.methods.base import Losses, Method, Step
from wsi_lpd.methods.glass import glass_share
from wsi_lpd.types import BACKGROUND

_FIELD_SIDE: Final = 4
"""Points that the random fields behind curved outlines are drawn at, along a side; they are smooth in between."""


class Decoder(Method):
    """The labels have spoken when the masks were made; here every pixel has a target, or is left out.

    Args:
        config: The section `decoder`.
        layer_weights: Weight of each of the M masks of a patch.
    """

    @classmethod
    def from_config(cls, config: Config, class_names: Sequence[str], mask_weights: tuple[float, ...]) -> Self:
        """See `Method`."""
        return cls(config.decoder, mask_weights)

    def __init__(self, config: DecoderConfig, layer_weights: tuple[float, ...]) -> None:
        self.config = config
        self._layer_weights = layer_weights

    def losses(self, step: Step) -> Losses:
        """The weighted sum over the M masks; where mosaics took the place of patches they are the masks."""
        assert step.masks is not None
        assert step.confidence is not None
        images, targets = step.images, step.masks
        weight = step.confidence if self.config.weighted else torch.ones_like(step.confidence)
        rows = single_class_rows(step.labels)
        n_mosaics = round(self.config.single_label * len(rows))
        if n_mosaics:
            chosen = rows[torch.randperm(len(rows))[:n_mosaics].to(rows.device)]
            pictures, exact = _MOSAICS[self.config.mosaic](
                images, exact_masks(step.clean, step.labels), rows, n_mosaics
            )
            images, targets, weight = images.clone(), targets.clone(), weight.clone()
            images[chosen], targets[chosen], weight[chosen] = pictures, exact[:, None], 1.0
        output = step.student(images)
        logits = torch.cat([output.background, output.fused_maps], dim=1).float()
        logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        per_layer = [
            share * pixel_loss(logits, target, form=self.config.loss, exponent=self.config.exponent, weight=weight)
            for share, target in zip(self._layer_weights, targets.unbind(1), strict=True)
        ]
        return Losses({"masks": torch.stack(per_layer).sum()})


def single_class_rows(labels: Tensor) -> Tensor:
    """Patches that hold one class and of which every other class is known to be absent, from labels (B, C); (n,)."""
    alone = ((labels == 1).sum(dim=1) == 1) & ((labels == 0).sum(dim=1) == labels.shape[1] - 1)
    return alone.nonzero().flatten()


def exact_masks(images: Tensor, labels: Tensor) -> Tensor:
    """What single-class patches show without any network: glass is background, all else the class.

    Args:
        images: RGB in [0, 1] before any change of colour, (B, 3, S, S).
        labels: (B, C).

    Returns:
        Label-map values uint8 (B, S, S); without meaning for patches of several classes.
    """
    value = (labels == 1).int().argmax(dim=1).to(torch.uint8) + 1
    glass = glass_share(images, (images.shape[-2], images.shape[-1])) > 0.5
    return torch.where(glass, BACKGROUND, value[:, None, None].expand(glass.shape))


def quartered(images: Tensor, masks: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pictures of four quarters, each a random piece of one of the patches `rows` (PistoSeg, Fang et al., AAAI 2023).

    Args:
        images: (B, 3, S, S).
        masks: (B, S, S).
        rows: Patches to take pieces of, (n,).
        count: Pictures to make.

    Returns:
        (count, 3, S, S) and (count, S, S). Draws are those of torch's global generator.
    """
    side = images.shape[-1]
    half = side // 2
    pictures, targets = images.new_empty((count, *images.shape[1:])), masks.new_empty((count, *masks.shape[1:]))
    sources = rows[torch.randint(len(rows), (count, 4)).to(rows.device)].tolist()
    corners = torch.randint(half + 1, (count, 4, 2)).tolist()
    for i in range(count):
        for quarter, (y, x) in enumerate(((0, 0), (0, half), (half, 0), (half, half))):
            height, width = (side - half if place else half for place in (y, x))
            top, left = corners[i][quarter]
            here = (slice(y, y + height), slice(x, x + width))
            there = (slice(top, top + height), slice(left, left + width))
            source = sources[i][quarter]
            pictures[i, :, *here], targets[i, *here] = images[source, :, *there], masks[source, *there]
    return pictures, targets


def curved(images: Tensor, masks: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pictures of up to four of the patches `rows`, with curved outlines between them as in FMix (Harris et al., 2020).

    A position shows the patch whose smooth random field is the highest there. A piece stays where it was in its patch.
    Arguments and result as of `quartered`.
    """
    sources = rows[torch.randint(len(rows), (count, 4)).to(rows.device)]
    fields = torch.randn(count, 4, _FIELD_SIDE, _FIELD_SIDE)
    fields = F.interpolate(fields, size=images.shape[-2:], mode="bicubic", align_corners=True)
    source = sources.gather(1, fields.argmax(dim=1).flatten(1).to(rows.device)).view(count, *images.shape[-2:])
    y, x = (torch.arange(side, device=images.device) for side in images.shape[-2:])
    pixels = images.permute(0, 2, 3, 1)[source, y[:, None], x]
    return pixels.permute(0, 3, 1, 2).contiguous(), masks[source, y[:, None], x]


_MOSAICS: Final = {"quarters": quartered, "curved": curved}


Learning = Decoder
