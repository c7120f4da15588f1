"""The defaults that a method or the feature cache changes; a configuration file and `--set` override them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

MethodName = Literal["lpd", "cam", "pbip", "lpd-reference", "pscl", "mlps", "tpro", "uam", "decoder"]

PROTOTYPES_OF: Final[Mapping[MethodName, str]] = {
    "pbip": "bank",
    "tpro": "file",
    "uam": "centres",
    "pscl": "none",
    "mlps": "none",
    "decoder": "none",
}
"""The methods whose `model.prototypes` is not `learnable`, with its value."""

_LABELS_ALONE: Final[Mapping[str, Any]] = {
    "loss.exclusion_weight": 0.0,
    "loss.pseudo_weight": 0.0,
    "loss.usage_weight": 0.0,
    "loss.diversity_weight": 0.0,
    "loss.spread": False,
    "loss.revive_below": 0.0,
    "augment.mosaic": 0.0,
}
"""Without the additions of LPD; encoder, colour augmentation, optimiser and training length are the same for all."""

_LAST_STAGE: Final[Mapping[str, Any]] = {
    "model.scales": [3],
    "model.fusion_weights": [1.0],
    "loss.scale_weights": [1.0],
    "loss.similarity_weight": 0.0,
    "model.prototypes_per_class": 1,
}
"""A linear classifier on the last stage."""

PRESETS: Final[Mapping[MethodName, Mapping[str, Any]]] = {
    "lpd": {},
    "cam": {**_LABELS_ALONE, "loss.similarity_weight": 0.0, "model.prototypes_per_class": 1},
    "pbip": {**_LABELS_ALONE, "model.prototypes": "bank", "model.prototypes_per_class": 3, "loss.start": 0.0},
    "lpd-reference": {
        **_LABELS_ALONE,
        "model.prototypes_per_class": 3,
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
    "pscl": {**_LABELS_ALONE, **_LAST_STAGE, "model.prototypes": "none", "loss.ramp": 0.0, "train.epochs": 5},
    "mlps": {**_LABELS_ALONE, **_LAST_STAGE, "model.prototypes": "none", "model.dropout": 0.5, "train.epochs": 20},
    "tpro": {
        **_LABELS_ALONE,
        "model.prototypes": "file",
        "model.prototypes_per_class": 1,
        "model.prototype_dim": 512,
        "model.knowledge_dim": 768,
        "model.fusion_weights": [0.1, 0.1, 0.8],
        "loss.scale_weights": [0.1, 1.0, 1.0],
        "loss.similarity_weight": 0.0,
        "train.epochs": 8,
    },
    "uam": {
        **_LABELS_ALONE,
        **_LAST_STAGE,
        "model.prototypes": "centres",
        "model.prototypes_per_class": 8,
        "model.merge": "maximum",
        "model.initial_scale": 10.0,
        "loss.ramp": 0.0,
    },
    "decoder": {"model.prototypes": "none"},
}
"""`pbip`: a k-means bank of three, with the refiner from the first step. `lpd-reference`: the configuration shipped
with the published code (K = 3, its weights, abrupt start after 3,000 of 18,744 iterations); its last two scales have
weight 1. Its prototypes have the dimension of the default encoder's last map, since the published diversity loss
compares the two. `pscl`: the contrast starts after the first of five epochs. `tpro`: vectors of the dimension of its
text encoders."""

CACHED: Final[Mapping[str, float]] = {
    "augment.mosaic": 0.0,
    "augment.stain": 0.0,
    "augment.brightness": 0.0,
    "augment.contrast": 0.0,
    "augment.blur": 0.0,
    "decoder.single_label": 0.0,
}
"""With `train.cache_features` each patch has a fixed appearance; its eight flips and rotations are cached as views."""
