"""Models with random weights: a benchmark of speed needs a model's size and a map of several classes, nothing more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from wsi_lpd.classes import QUPATH_CLASSES
from wsi_lpd.config import load_config
from wsi_lpd.models.network import build_network
from wsi_lpd.models.saved.card import CARD_FILE, Calibration
from wsi_lpd.models.saved.checkpoint import save_model
from wsi_lpd.models.saved.describe import describe_model
from wsi_lpd.slide import open_slide
from wsi_lpd.types import Box, Size

N_CLASSES = 4
MPP = 1.0
PATCH_PX = 224
N_WINDOWS = 16


def random_run(folder: Path, encoder: str, slide: Path) -> Path:
    """A run folder whose network has random weights (seed 0); made where it is missing.

    Windows are one patch of `PATCH_PX` pixels at `MPP` um/px. The offsets of the classes are set so that each
    class map has the mean 0 on some windows of `slide`, at every scale: then every class occurs.
    """
    if (folder / CARD_FILE).is_file():
        return folder
    torch.manual_seed(0)
    config = load_config(
        None,
        [f"model.encoder={encoder}", "model.weights=none", f"tile.patch_px={PATCH_PX}", "augment.mosaic=0"],
    )
    network = build_network(config.model, n_classes=N_CLASSES).eval()
    with torch.inference_mode():
        output = network(_windows(slide))
    for offsets, maps in zip(network.prototypes.offsets.data, output.class_maps, strict=True):
        offsets -= maps.mean(dim=(0, 2, 3))
    classes = QUPATH_CLASSES[:N_CLASSES]
    card = describe_model(
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


def _windows(path: Path) -> torch.Tensor:
    """`N_WINDOWS` windows along the diagonal of a slide, in [0, 1], (N, 3, S, S)."""
    with open_slide(path) as slide:
        side = round(PATCH_PX * MPP / slide.mpp)
        steps = [(i + 1) / (N_WINDOWS + 1) for i in range(N_WINDOWS)]
        corners = [
            (round(step * (slide.size_px.width - side)), round(step * (slide.size_px.height - side))) for step in steps
        ]
        pixels = [slide.read(Box(x, y, side, side), Size(PATCH_PX, PATCH_PX)) for x, y in corners]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
