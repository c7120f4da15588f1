"""Models with random weights: what a benchmark of speed needs of a model is its size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from wsi_lpd.classes import QUPATH_CLASSES
from wsi_lpd.config import load_config
from wsi_lpd.models.card import CARD_FILE, Calibration, ModelCard
from wsi_lpd.models.checkpoint import save_model
from wsi_lpd.models.network import build_network

N_CLASSES = 4
MPP = 1.0
PATCH_PX = 224


def random_run(folder: Path, encoder: str, settings: Sequence[str] = ()) -> Path:
    """A run folder whose network has random weights (seed 0); made if it is missing.

    Windows are one patch of `PATCH_PX` pixels at `MPP` um/px.
    """
    if (folder / CARD_FILE).is_file():
        return folder
    torch.manual_seed(0)
    config = load_config(
        None,
        [f"model.encoder={encoder}", "model.weights=none", f"tile.patch_px={PATCH_PX}", "augment.mosaic=0", *settings],
    )
    network = build_network(config.model, n_classes=N_CLASSES)
    classes = QUPATH_CLASSES[:N_CLASSES]
    card = ModelCard.describing(
        config,
        encoder=network.encoder,
        classes=classes,
        label_columns=[tissue.name for tissue in classes],
        mpp=MPP,
        patch_px=PATCH_PX,
        calibration=Calibration(temperature=(1.0,) * N_CLASSES, offset=(0.0,) * N_CLASSES),
        metrics={},
        data_fingerprint="random weights",
    )
    save_model(folder, network.state_dict(), card)
    return folder
