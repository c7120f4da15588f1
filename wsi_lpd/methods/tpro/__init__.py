"""TPRO: prototypes from text."""

from __future__ import annotations

from wsi_lpd.config.method import LABELS_ALONE, MethodSpec

__all__ = ["METHOD"]

METHOD = MethodSpec(
    "tpro",
    "prototypes and knowledge from text, vectors as long as those of its text encoders (Zhang et al., MICCAI 2023)",
    prototypes="file",
    preset={
        **LABELS_ALONE,
        "model.prototypes_per_class": 1,
        "model.prototype_dim": 512,
        "model.knowledge_dim": 768,
        "model.fusion_weights": [0.1, 0.1, 0.8],
        "loss.scale_weights": [0.1, 1.0, 1.0],
        "loss.similarity_weight": 0.0,
        "train.epochs": 8,
    },
)
