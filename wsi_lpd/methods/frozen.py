"""An encoder as training found it: the same weights, never changed."""

from __future__ import annotations

import torch

from wsi_lpd.config import Config
from wsi_lpd.models.encoders.build import Encoder, build_encoder


def frozen_encoder(config: Config, device: torch.device, *, scale: int) -> Encoder:
    """The configured encoder at one scale, with the configured weights, in eval mode and without gradients.

    Random weights are drawn from `train.seed`, so that a resumed run has the same; the global generator is left alone.

    Args:
        config: The configuration.
        device: Where it lives.
        scale: The stage, counted from 0.

    Raises:
        ModelError: If the weights cannot be had.
    """
    model = config.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        encoder = build_encoder(model.encoder, weights=model.weights, last_stride=model.last_stride, scales=(scale,))
    return encoder.requires_grad_(False).eval().to(device)
