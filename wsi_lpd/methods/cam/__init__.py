"""Class activation maps: a linear classifier of the mean of the map."""

from __future__ import annotations

from wsi_lpd.config.method import LABELS_ALONE, MethodSpec

__all__ = ["METHOD"]

METHOD = MethodSpec(
    "cam",
    "class activation maps of one vector per class (Zhou et al., CVPR 2016)",
    preset={**LABELS_ALONE, "loss.similarity_weight": 0.0},
    requires={"model.prototypes_per_class": 1},
)
