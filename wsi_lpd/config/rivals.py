"""The sections `pscl`, `mlps` and `uam`: what these methods have beyond the terms that all share."""

from __future__ import annotations

from pydantic import Field

from wsi_lpd.config.section import Section


class PsclConfig(Section):
    """Method pscl: the pseudo-supervised contrast, after `loss.start`."""

    contrast_weight: float = Field(0.1, ge=0, description="Weight of the contrast.")
    temperature: float = Field(0.1, gt=0, description="Temperature of the contrast.")
    first_confidence: float = Field(
        0.8, gt=0, lt=1, description="Lowest stretched activation of a position that takes part, at the start."
    )
    last_confidence: float = Field(0.5, gt=0, lt=1, description="The same at the end; in between it falls linearly.")
    most_per_image: int = Field(
        64, ge=1, description="Positions per class and patch that take part, the most confident first."
    )
    most_per_batch: int = Field(512, ge=1, description="Positions per class and batch that take part.")


class MlpsConfig(Section):
    """Method mlps: the progressive dropout attention."""

    attention_start: float = Field(0.15, ge=0, le=1, description="Share of training after which attention begins.")
    least_gamma: float = Field(
        0.65, gt=0, le=1, description="Lowest threshold of its masks, as a share of a map's maximum."
    )


class UamConfig(Section):
    """Method uam: clusters of features, and the head that tells them apart, after `loss.start`."""

    assignment_weight: float = Field(1.0, ge=0, description="Weight of assigning every position to its cluster.")
    least_activation: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="Lowest stretched activation of positions that are clustered, in patches of several classes.",
    )
