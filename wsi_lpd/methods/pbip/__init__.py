"""PBIP: a bank of k-means prototypes."""

from __future__ import annotations

from wsi_lpd.config.method import LABELS_ALONE, MethodSpec

__all__ = ["METHOD"]

METHOD = MethodSpec(
    "pbip",
    "prototypes from a bank of three k-means centres, the refiner from the first step (arXiv 2503.12068)",
    prototypes="bank",
    preset={**LABELS_ALONE, "model.prototypes_per_class": 3, "loss.start": 0.0},
)
