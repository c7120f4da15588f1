"""PSCL: a pseudo-supervised contrast between confident positions."""

from __future__ import annotations

from pydantic import Field

from wsi_lpd.config.method import LABELS_ALONE, LAST_STAGE, MethodSpec
from wsi_lpd.config.section import Section

__all__ = ["METHOD", "PsclConfig"]


class PsclConfig(Section):
    """Method pscl: the pseudo-supervised contrast, after `loss.start`."""

    contrast_weight: float = Field(
        0.1, ge=0, description="Weight of the pseudo-supervised contrast; 0 switches it off."
    )
    temperature: float = Field(0.1, gt=0, description="Temperature of the contrast.")
    first_confidence: float = Field(
        0.8, gt=0, lt=1, description="Lowest stretched activation of a position that takes part, at the start."
    )
    last_confidence: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Lowest stretched activation at the end of training; in between it changes linearly.",
    )
    most_per_image: int = Field(
        64, ge=1, description="Positions per class and patch that take part, the most confident first."
    )
    most_per_batch: int = Field(512, ge=1, description="Positions per class and batch that take part.")


METHOD = MethodSpec(
    "pscl",
    "a linear classifier and a contrast between confident positions, after the first of five epochs",
    prototypes="none",
    preset={**LABELS_ALONE, **LAST_STAGE, "loss.ramp": 0.0, "train.epochs": 5},
    settings={"pscl": PsclConfig()},
    terms=("contrast",),
)
