"""Predicts the pixels of training patches, given the labels of the patches."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.config import MasksConfig
from wsi_lpd.methods.choose import build_method
from wsi_lpd.models.activation import label_probabilities
from wsi_lpd.models.device import autocast, autocast_dtype, to_images
from wsi_lpd.models.network import LpdNetwork, TissueNetwork
from wsi_lpd.models.saved.card import ModelCard
from wsi_lpd.models.saved.load import load_network
from wsi_lpd.models.views import views_of
from wsi_lpd.prediction.passes import windows_per_pass
from wsi_lpd.prediction.refine import refine
from wsi_lpd.types import IGNORE, UInt8Array

_REFINED_MARGIN_PX = 16
"""Part of the margin that refinement gets: it reaches 8 px at a time, and takes as long as the network itself."""


class MaskMaker:
    """A model, its method and settings, for any number of patches.

    Attributes:
        card: The model's card.
        weights: Weight of each mask of a patch.
    """

    def __init__(self, network: TissueNetwork, card: ModelCard, config: MasksConfig, device: torch.device) -> None:
        self.card = card
        self._network = cast("LpdNetwork", network.to(device).eval())  # a decoder does for `mask_layers` too
        self._method = build_method(card.config, card.label_columns)
        self.weights = self._method.mask_weights
        self._config = config
        self._device = device
        self._dtype = autocast_dtype("auto", device)

    @classmethod
    def load(cls, run: Path, config: MasksConfig, device: torch.device) -> MaskMaker:
        """Reads the model of a run folder.

        Raises:
            ModelError: If the folder holds no complete model of a format this version reads.
        """
        network, card = load_network(run)
        return cls(network, card, config, device)

    def margin_px(self, patch_px: int) -> int:
        """Margin around a patch that the network sees too: whole cells of the coarsest map.

        0 for a network that takes images of one size only.
        """
        if self._network.encoder.fixed_size_px is not None:
            return 0
        cell_px = max(self.card.encoder.reductions)
        return round(self._config.context * patch_px / cell_px) * cell_px

    def patches_per_pass(self, patch_px: int) -> int:
        """The setting, or what suits the device."""
        window_px = patch_px + 2 * self.margin_px(patch_px)
        return windows_per_pass(self._config.batch_size, self._device, window_px=window_px)

    def masks(self, windows: UInt8Array, labels: Tensor, *, margin_px: int) -> UInt8Array:
        """Masks and confidence.

        Args:
            windows: Patches with a margin on all sides, RGB, (B, S + 2 margin, S + 2 margin, 3).
            labels: 1, 0 or -1 (not labelled), (B, C). A class labelled 0 is excluded; an unlabelled one competes,
                and the pixels it wins are ignored, as are those where the network is almost certain of an
                excluded class.
            margin_px: Width of the margin.

        Returns:
            (B, M + 1, S, S): label-map values or 255, then the winner's lead in the first mask times 255.
        """
        images = to_images(windows, self._device)
        labels = labels.to(self._device)
        layers = [self._decided(logits, images, labels, margin_px) for logits in self._logits(images, labels)]
        lead = (layers[0][1] * 255).round().to(torch.uint8)
        stacked = torch.stack([*(values for values, _ in layers), lead], dim=1)
        array: UInt8Array = stacked.cpu().numpy()
        return array

    def _logits(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Means over the views, (B, C + 1, H, W) for each mask."""
        cell_px = max(self.card.encoder.reductions)
        sums: list[Tensor] = []
        for view in views_of(images, self._config.views, cell_px=cell_px):
            with torch.no_grad(), autocast(self._device, self._dtype):
                layers = self._method.mask_layers(self._network, view.images, labels)
            upright = [view.back(_resized(maps.float(), images)).contiguous() for maps in layers]
            sums = [total + maps for total, maps in zip(sums, upright, strict=True)] if sums else upright
        return [total / self._config.views for total in sums]

    def _decided(self, logits: Tensor, images: Tensor, labels: Tensor, margin_px: int) -> tuple[Tensor, Tensor]:
        """Values uint8 (B, S, S) within the margin, and the winner's lead over the runner-up (B, S, S)."""
        config = self._config
        allowed = (labels != 0).float()[:, :, None, None]
        outer, kept = max(margin_px - _REFINED_MARGIN_PX, 0), min(margin_px, _REFINED_MARGIN_PX)
        probabilities = label_probabilities(_within(logits, outer), allowed)
        probabilities = _within(refine(probabilities, _within(images, outer), method=config.refine), kept)
        best, values = probabilities.topk(2, dim=1)
        winner, lead = values[:, 0], best[:, 0] - best[:, 1]
        judged = F.pad(labels == 1, (1, 0), value=True).gather(1, winner.flatten(1)).reshape(winner.shape)
        sure = (best[:, 0] > config.confidence) & (lead > config.margin)
        return torch.where(judged & sure, winner, IGNORE).to(torch.uint8), lead.clamp(0, 1)


def _resized(maps: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False)


def _within(maps: Tensor, margin_px: int) -> Tensor:
    """Maps (B, X, H, W) without a margin."""
    return maps[..., margin_px : maps.shape[-2] - margin_px, margin_px : maps.shape[-1] - margin_px]
