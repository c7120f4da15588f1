"""A trained model that looks at windows. It has no way to be told a label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsi_lpd.models.activation import image_probability
from wsi_lpd.models.device import autocast, autocast_dtype, device_name, to_images
from wsi_lpd.models.engine import OpenVinoEncoder, openvino_version
from wsi_lpd.models.network import MOSAIC_SIDE, LpdNetwork, NetworkOutput, TissueNetwork
from wsi_lpd.models.saved.card import ModelCard
from wsi_lpd.models.saved.load import load_network
from wsi_lpd.models.views import views_of
from wsi_lpd.overlay.raster.strips import NO_PROTOTYPE
from wsi_lpd.prediction.passes import passes_at_once
from wsi_lpd.prediction.refine import RefinementName, refine
from wsi_lpd.prediction.stitch import WindowMaps
from wsi_lpd.types import UInt8Array

_LEAST_PROBABILITY = 1e-6
"""Of a refined class, so that its logarithm is finite and windows can be averaged."""


class Predictor:
    """Network, model card and device."""

    def __init__(self, network: TissueNetwork, card: ModelCard, device: torch.device) -> None:
        self.card = card
        self.device = device
        self._network = network.to(device).eval()
        self._engine = "torch"
        self._twin: Predictor | None = None
        self._dtype = autocast_dtype("auto", device)
        self._temperature = torch.tensor(card.calibration.temperature, device=device)
        self._offset = torch.tensor(card.calibration.offset, device=device)

    @classmethod
    def load(cls, run: Path, device: torch.device) -> Predictor:
        """Reads the model of a run folder.

        Raises:
            ModelError: If the folder holds no complete model of a format this version reads.
        """
        network, card = load_network(run)
        return cls(network, card, device)

    @property
    def identity(self) -> dict[str, str]:
        """All that decides the bits of what the model says of a window, but for the versions of libraries."""
        return {
            "weights_sha256": str(self.card.weights_sha256),
            "card_sha256": hashlib.sha256(self.card.model_dump_json().encode()).hexdigest(),
            "device": device_name(self.device),
            "precision": str(self._dtype),
            "engine": self._engine,
        }

    def with_openvino(self, *, strict: bool) -> Predictor:
        """The same model, whose encoder OpenVINO runs; see `OpenVinoEncoder`. Made once."""
        if self._twin is None:
            encoder = OpenVinoEncoder(self._network.encoder, at_once=passes_at_once(self.device), strict=strict)
            self._twin = Predictor(self._network.with_encoder(encoder), self.card, self.device)
            self._twin._engine = f"openvino {openvino_version()}"
        return self._twin

    def gates(self, gate: Literal["auto", "predicted", "none"]) -> bool:
        """Whether `segment.gate` means that classes are weighed by presence; `auto` is what the network wants."""
        return self._network.wants_gate if gate == "auto" else gate == "predicted"

    @property
    def knows_background(self) -> bool:
        """Whether it tells tissue from glass, rather than naming a class for every position."""
        return self.card.config.model.background

    @property
    def window_px(self) -> int:
        """Side of the windows that suit the model: a mosaic of patches where it learnt from those, else one patch."""
        mosaics = self.card.config.augment.mosaic > 0 and self.card.patch_px % self.cell_px == 0
        return self.card.patch_px * (MOSAIC_SIDE if mosaics else 1)

    @property
    def cell_px(self) -> int:
        """Model pixels per position of the coarsest feature map."""
        return max(self.card.encoder.reductions)

    @torch.inference_mode()
    def predict(
        self, windows: UInt8Array, *, output_stride: int, views: int = 1, refinement: RefinementName = "none"
    ) -> list[WindowMaps]:
        """Class maps of each window.

        Args:
            windows: RGB at the model's mpp, (B, S, S, 3).
            output_stride: Model pixels per map pixel; divides S.
            views: How many of the eight flips and quarter turns are averaged.
            refinement: How the outlines are moved to the edges of the picture.
        """
        images = to_images(windows, self.device)
        side = windows.shape[1] // output_stride
        seen = self._seen_in_views(images, views, output_stride)
        logits, presence, *similarity = (_mean(parts) for parts in zip(*seen, strict=True))
        logits = _refined(logits, images, refinement, stride=output_stride)
        prototypes = _most_similar(similarity[0], side) if similarity else _no_prototypes(logits)
        return [WindowMaps(*arrays) for arrays in zip(*map(_numpy, (logits, presence, prototypes)), strict=True)]

    def _seen_in_views(self, images: Tensor, views: int, stride: int) -> Iterator[tuple[Tensor, ...]]:
        """Logits (B, C + 1, side, side), presence (B, C), similarities (B, C, K, h, w) of each view, turned back.

        A network without prototypes gives no similarities.

        Logits are moved back by pixels of the map, similarities by the next lower pixel of their own.
        """
        window_px = images.shape[-1]
        for view in views_of(images, views, cell_px=self.cell_px, stride=stride):
            with autocast(self.device, self._dtype):
                output = self._network(view.images)
            presence = self._presence(output, window_px)
            logits = _resized(self._network.map_logits(output, presence), window_px // stride)
            upright = view.back(logits, pixel_px=stride)
            if not isinstance(self._network, LpdNetwork) or not self._network.has_prototypes:
                yield upright, presence
                continue
            similarity = self._network.fused_similarity(output).float()
            pixel_px = window_px // similarity.shape[-1]
            similar = view.back(similarity.flatten(1, 2), pixel_px=pixel_px)
            yield upright, presence, similar.reshape(similarity.shape)

    def _presence(self, output: NetworkOutput, window_px: int) -> Tensor:
        """Calibrated probability that a class occurs in a window, (B, C): that of the likeliest of its parts.

        Labels, and so the calibration, speak of patches. A window may be several patches wide, and the mean over it
        says little of a class that fills one corner; so every part of a patch's size is asked.
        """
        n_parts = max(1, round(window_px / self.card.patch_px))
        logits = self._network.part_logits(output, n_parts).float().amax(dim=(2, 3))
        return image_probability(logits, temperature=self._temperature, offset=self._offset)


def _mean(views: Sequence[Tensor]) -> Tensor:
    return views[0] if len(views) == 1 else torch.stack(list(views)).mean(dim=0)


def _resized(maps: Tensor, side: int) -> Tensor:
    """(B, X, h, w) at another resolution, (B, X, side, side)."""
    if maps.shape[-2:] == (side, side):
        return maps
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


def _most_similar(similarity: Tensor, side: int) -> Tensor:
    """Most similar prototype of each class, (B, C, side, side), by similarities (B, C, K, h, w) at that resolution.

    One class at a time: all of them at the resolution of the windows are many times what the network holds.
    """
    of_classes = [_resized(of_class, side).max(dim=1).indices.to(torch.uint8) for of_class in similarity.unbind(1)]
    return torch.stack(of_classes, dim=1)


def _no_prototypes(logits: Tensor) -> Tensor:
    """Of logits (B, C + 1, h, w), (B, C, h, w)."""
    return torch.full_like(logits[:, 1:], NO_PROTOTYPE, dtype=torch.uint8)


def _refined(logits: Tensor, images: Tensor, method: RefinementName, *, stride: int) -> Tensor:
    """Logits whose softmax is the refined softmax of `logits`, before any gate."""
    if method == "none":
        return logits
    pictures = F.avg_pool2d(images, stride)
    return refine(logits.softmax(dim=1), pictures, method=method, stride=stride).clamp(min=_LEAST_PROBABILITY).log()


def _numpy(tensor: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return tensor.cpu().numpy()
