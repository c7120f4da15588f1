"""UAM: unbiased activation maps from clusters of features."""

from __future__ import annotations

from pydantic import Field

from wsi_lpd.config.method import LABELS_ALONE, LAST_STAGE, MethodSpec
from wsi_lpd.config.section import Section

__all__ = ["ASSIGNMENT", "METHOD", "UamConfig"]

ASSIGNMENT = "assignment"
"""Its own network part and loss term: which cluster of its class a position belongs to."""


class UamConfig(Section):
    """Method uam: clusters of features, and the head that tells them apart, after `loss.start`."""

    assignment_weight: float = Field(1.0, ge=0, description="Weight of assigning every position to its cluster.")
    least_activation: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="Lowest stretched activation of positions that are clustered, in patches of several classes.",
    )


METHOD = MethodSpec(
    "uam",
    "a linear classifier and clusters of its features (Kang et al., TMI 2025, reconstructed)",
    prototypes="centres",
    preset={
        **LABELS_ALONE,
        **LAST_STAGE,
        "model.prototypes_per_class": 8,
        "model.merge": "maximum",
        "model.initial_scale": 10.0,
        "loss.ramp": 0.0,
    },
    settings={"uam": UamConfig()},
    terms=(ASSIGNMENT,),
)
