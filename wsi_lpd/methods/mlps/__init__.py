"""MLPS: progressive dropout attention."""

from __future__ import annotations

from pydantic import Field

from wsi_lpd.config.method import LABELS_ALONE, LAST_STAGE, MethodSpec
from wsi_lpd.config.section import Section

__all__ = ["METHOD", "MlpsConfig"]


class MlpsConfig(Section):
    """Method mlps: the progressive dropout attention."""

    attention_start: float = Field(
        0.15, ge=0, le=1, description="Share of training after which the dropout attention begins."
    )
    least_gamma: float = Field(
        0.65, gt=0, le=1, description="Lowest share of a map's maximum above which the attention removes positions."
    )


METHOD = MethodSpec(
    "mlps",
    "a linear classifier with progressive dropout attention (Han et al., Medical Image Analysis 2022)",
    prototypes="none",
    preset={**LABELS_ALONE, **LAST_STAGE, "model.dropout": 0.5, "train.epochs": 20},
    settings={"mlps": MlpsConfig()},
)
