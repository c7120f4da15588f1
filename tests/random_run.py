"""A finished run with random weights, and images with masks as the data sets come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wsi_lpd.classes import TissueClass
from wsi_lpd.config import load_config
from wsi_lpd.models.network import build_network
from wsi_lpd.models.saved.card import Calibration
from wsi_lpd.models.saved.checkpoint import save_model
from wsi_lpd.models.saved.describe import describe_model

CLASSES = (TissueClass("Stroma", (150, 200, 150)), TissueClass("Tumor", (200, 0, 0)), TissueClass("Fat", (0, 114, 178)))
SETTINGS = (
    "model.scales=[1, 3]",
    "model.fusion_weights=[0.4, 0.6]",
    "loss.scale_weights=[0.5, 1]",
    "model.prototypes_per_class=2",
    "model.prototype_dim=16",
    "augment.mosaic=0",
)


def random_run(folder: Path, *, mpp: float = 0.5, patch_px: int = 64) -> Path:
    torch.manual_seed(7)
    config = load_config(overrides=SETTINGS)
    network = build_network(config.model, n_classes=len(CLASSES))
    card = describe_model(
        config,
        encoder=network.encoder,
        classes=CLASSES,
        label_columns=("STR", "TUM", "fat"),
        mpp=mpp,
        patch_px=patch_px,
        calibration=Calibration(temperature=(1.0, 0.5, 2.0), offset=(0.1, -0.3, 0.0)),
        metrics={},
        data_fingerprint="sha256:00",
    )
    save_model(folder, network.state_dict(), card)
    return folder


def image_folder(
    folder: Path, *, n_images: int = 3, shape: tuple[int, int] = (40, 56), coding: str = "index", n_values: int = 4
) -> Path:
    """Noise with masks in the order Tumor, Stroma, Fat: not the model's."""
    rng = np.random.default_rng(9)
    for name in ("img", "mask"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(n_images):
        stem = f"patient{i // 2}_x{10 * i}_y{7 * i}"
        pixels = rng.integers(60, 255, (*shape, 3)).astype(np.uint8)
        truth = rng.integers(0, n_values, (shape[0] // 4, shape[1] // 4)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        truth[:3] = 255
        Image.fromarray(pixels).save(folder / "img" / f"{stem}.png")
        Image.fromarray(truth).save(folder / "mask" / f"{stem}.png")
    return folder
