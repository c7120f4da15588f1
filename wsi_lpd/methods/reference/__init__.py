"""LPD as its published code has it, defects included."""

from __future__ import annotations

from pydantic import Field

from wsi_lpd.config.method import LABELS_ALONE, MethodSpec
from wsi_lpd.config.section import Section

__all__ = ["METHOD", "ReferenceConfig"]


class ReferenceConfig(Section):
    """Defects of the published LPD code, for method lpd-reference alone; two more are model.merge and model.scores."""

    double_softmax: bool = Field(True, description="Defect L3: diversity takes a softmax of a softmax over positions.")
    no_temperature: bool = Field(True, description="Defect L3: that softmax works on cosines at temperature 1.")
    class_offset: bool = Field(True, description="Defect L2: the regions are one class off.")
    raw_prototypes: bool = Field(
        True,
        description="Defects L5 and L6: diversity and refiner compare prototypes in a space nothing aligns them to.",
    )
    raw_background_score: bool = Field(
        True, description="Defect L7: a background of 0.2 is compared with raw logits instead of maps in [0, 1]."
    )
    ungated_mask: bool = Field(True, description="Defect L8: regions may belong to classes the label excludes.")
    image_threshold: bool = Field(
        True, description="Defect L9: the refiner uses one threshold for all maps of an image."
    )
    raw_crops: bool = Field(True, description="Defect L11: the refiner's crops are multiplied by raw logits.")
    sibling_negatives: bool = Field(True, description="Defect L12: prototypes of the same class count as negatives.")
    decay_everything: bool = Field(True, description="Weight decay also acts on norms, biases, scales and prototypes.")
    oracle_gate: bool = Field(
        True, description="Defect L16: validation masks are gated by labels read off the true masks."
    )


METHOD = MethodSpec(
    "lpd-reference",
    "LPD as published: K = 3, its weights, an abrupt start after 3,000 of 18,744 iterations (arXiv 2512.05922)",
    preset={
        **LABELS_ALONE,
        "model.prototypes_per_class": 3,
        # As long as the last map of the default encoder: the published diversity compares the two.
        "model.prototype_dim": 152,
        "model.merge": "published",
        "model.scores": "relative",
        "model.background": False,
        "model.initial_scale": 14.2857,
        "model.fusion_weights": [0.3, 0.3, 0.4],
        "loss.scale_weights": [0.1, 1.0, 1.0],
        "loss.balance_classes": False,
        "loss.background_weight": 0.0,
        "loss.diversity_weight": 0.5,
        "loss.start": 0.16,
        "loss.ramp": 0.0,
    },
    settings={"reference": ReferenceConfig()},
)
