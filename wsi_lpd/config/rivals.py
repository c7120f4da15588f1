"""The sections `pscl`, `mlps` and `uam`: what these methods have beyond the terms that all share."""

from __future__ import annotations

from pydantic import Field

from wsi_lpd.config.section import Section


class PsclConfig(Section):
    """Method pscl: the pseudo-supervised contrast, after `loss.start`."""

    contrast_weight: float = Field(0.1, ge=0, description="Weight of the contrast.")
    temperature: float = Field(0.1, gt=0, description="Temperature of the contrast.")
    first_confidence: float = Field(
        0.8, gt=0, lt=1, description="Least stretched activation of a position that takes part, when it begins."
    )
    last_confidence: float = Field(0.5, gt=0, lt=1, description="The same at the end; in between it falls evenly.")
    most_per_image: int = Field(64, ge=1, description="Positions per class and patch that take part, the surest first.")
    most_per_batch: int = Field(512, ge=1, description="Positions per class and batch that take part.")


class MlpsConfig(Section):
    """Method mlps: the progressive dropout attention."""

    attention_start: float = Field(0.15, ge=0, le=1, description="Share of training after which it begins.")
    least_gamma: float = Field(
        0.65, gt=0, le=1, description="The lowest it cuts: positions above this share of a map's maximum."
    )


class UamConfig(Section):
    """Method uam: clusters of features, and the head that tells them apart, after `loss.start`."""

    assignment_weight: float = Field(1.0, ge=0, description="Weight of telling the cluster of every position.")
    least_activation: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="Least stretched activation of the positions of a patch of several classes that are clustered.",
    )
