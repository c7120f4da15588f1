"""The section `pretrain`: how an encoder starts when there are neither weights nor labels."""

from __future__ import annotations

from pydantic import Field

from wsi_lpd.config.section import Section
from wsi_lpd.config.train import ColourConfig


class ViewConfig(ColourConfig):
    """How two views of a patch differ, beside the eight flips and quarter turns: more than patches in training do."""

    crop: float = Field(0.3, gt=0, le=1, description="Smallest share of a patch's area that a view shows.")
    px: int = Field(128, ge=16, description="Largest side of a view; smaller patches keep their own side.")
    stain: float = Field(
        0.3, ge=0, description="Spread of the strength of haematoxylin, eosin and residual (HED jitter)."
    )
    brightness: float = Field(0.2, ge=0, description="Spread of the brightness factor.")
    contrast: float = Field(0.2, ge=0, description="Spread of the contrast factor.")
    blur: float = Field(0.3, ge=0, le=1, description="Share of views that are slightly blurred.")


class PretrainConfig(Section):
    """VICReg on patches without labels (arXiv 2105.04906).

    The encoder is that of `model`. Precision, layout, compilation, determinism, seed, reading, checkpoints and log are
    those of `train`.
    """

    epochs: int = Field(30, ge=1, description="Passes over the patches.")
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimiser steps, whatever `epochs` says; null = no limit."
    )
    batch_size: int = Field(64, ge=2, description="Patches per step, two views of each.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of matrices; norms and biases have none.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises.")
    projector_dim: int = Field(256, ge=8, description="Width of the three layers between the encoder and the loss.")
    invariance: float = Field(25.0, ge=0, description="Weight of both views agreeing (VICReg).")
    variance: float = Field(25.0, ge=0, description="Weight of every output varying between patches (VICReg).")
    covariance: float = Field(1.0, ge=0, description="Weight of outputs being uncorrelated (VICReg).")
    views: ViewConfig = ViewConfig()
