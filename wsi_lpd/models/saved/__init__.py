"""Trained models on disk: card, weights, run folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.models.saved.card import Calibration, ModelCard, load_card
    from wsi_lpd.models.saved.checkpoint import save_model
    from wsi_lpd.models.saved.describe import describe_model
    from wsi_lpd.models.saved.load import load_network, network_for
    from wsi_lpd.models.saved.runs import find_run, mark_latest
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "card": ["Calibration", "ModelCard", "load_card"],
            "checkpoint": ["save_model"],
            "describe": ["describe_model"],
            "load": ["load_network", "network_for"],
            "runs": ["find_run", "mark_latest"],
        },
    )

__all__ = [
    "Calibration",
    "ModelCard",
    "describe_model",
    "find_run",
    "load_card",
    "load_network",
    "mark_latest",
    "network_for",
    "save_model",
]
