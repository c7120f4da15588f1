"""A trained model that looks at windows. It has no way to be told a label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.models.activation import image_probability, with_background
from wsi_lpd.models.card import ModelCard, load_card
from wsi_lpd.models.checkpoint import restore
from wsi_lpd.models.device import autocast, autocast_dtype
from wsi_lpd.models.network import MOSAIC_SIDE, LpdNetwork, build_network
from wsi_lpd.models.views import turned, turned_back
from wsi_lpd.segment.stitch import WindowMaps
from wsi_lpd.types import UInt8Array


class Predictor:
    """Network, model card and device."""

    def __init__(self, network: LpdNetwork, card: ModelCard, device: torch.device) -> None:
        self.card = card
        self._network = network.to(device).eval()
        self._device = device
        self._dtype = autocast_dtype("auto", device)
        self._temperature = torch.tensor(card.calibration.temperature, device=device)
        self._offset = torch.tensor(card.calibration.offset, device=device)

    @classmethod
    def load(cls, run: Path, device: torch.device) -> Predictor:
        """Reads the model of a run folder.

        Raises:
            ModelError: If the folder holds no complete model of a format this version reads.
        """
        card = load_card(run)
        config = card.config.model.model_copy(update={"weights": "none"})
        network = build_network(config, n_classes=len(card.classes))
        restore(network, run)
        return cls(network, card, device)

    @property
    def window_px(self) -> int:
        """Side of the windows that suit the model: a mosaic of patches where it learnt from those, else one patch."""
        return self.card.patch_px * (MOSAIC_SIDE if self.card.config.augment.mosaic > 0 else 1)

    @torch.inference_mode()
    def predict(self, windows: UInt8Array, *, output_stride: int, views: int = 1) -> list[WindowMaps]:
        """Class maps of each window.

        Args:
            windows: RGB at the model's mpp, (B, S, S, 3).
            output_stride: Model pixels per map pixel; divides S.
            views: How many of the eight flips and quarter turns are averaged.
        """
        images = torch.from_numpy(windows).to(self._device).permute(0, 3, 1, 2).float() / 255
        side = windows.shape[1] // output_stride
        means = [torch.stack(parts).mean(dim=0) for parts in zip(*self._seen(images, side, views), strict=True)]
        logits, presence, similarity = means
        prototypes = similarity.argmax(dim=2).to(torch.uint8)
        return [WindowMaps(*arrays) for arrays in zip(*map(_numpy, (logits, presence, prototypes)), strict=True)]

    def _seen(self, images: Tensor, side: int, views: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Logits (B, C + 1, h, w), presence (B, C) and similarities (B, C, K, h, w) of each view, turned back."""
        for code in range(views):
            with autocast(self._device, self._dtype):
                output = self._network(turned(images, code))
            logits = with_background(output.fused_maps.float(), output.background.float())
            similarity = self._network.fused_similarity(output).float()
            n_classes, n_prototypes = similarity.shape[1:3]
            maps = torch.cat([logits, similarity.flatten(1, 2)], dim=1)
            maps = turned_back(F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False), code)
            presence = image_probability(
                output.fused_logits.float(), temperature=self._temperature, offset=self._offset
            )
            logits, flat = maps[:, : n_classes + 1], maps[:, n_classes + 1 :]
            yield logits, presence, flat.reshape(len(maps), n_classes, n_prototypes, side, side)


def _numpy(tensor: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return tensor.cpu().numpy()
