"""A tiny network with random weights, and patches with labels, some with masks."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
import torch
from tiny_prototypes import CLASSES, LABELS, SETTINGS, SIDE

from wsi_lpd.classes import qupath_classes
from wsi_lpd.config import load_config
from wsi_lpd.models.card import Calibration, ModelCard
from wsi_lpd.models.network import build_network
from wsi_lpd.patches.labels import read_labels


def texture(rng, present):
    patch = np.full((SIDE, SIDE, 3), (225, 170, 200), np.float32) + rng.normal(0, 6, (SIDE, SIDE, 1))
    if present[1] == 1:
        y, x = np.mgrid[:SIDE, :SIDE]
        stripes = np.sin((x * 0.3 + y) * 0.9 + rng.uniform(0, 6)) > 0.3
        patch[20:][stripes[20:]] = (200, 60, 90)
    if present[0] == 1:
        for x, y in rng.integers(2, SIDE - 2, (14, 2)):
            cv2.circle(patch, (int(x), int(y) // 2), 2, (90, 40, 130), -1)
    return np.clip(patch, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def labels_csv(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(5)
    rows = [["image", "slide", *CLASSES]]
    for i in range(21):
        present = LABELS[i % 5] if i != 13 else LABELS[5]
        cv2.imwrite(str(folder / f"p{i}.png"), texture(rng, present)[..., ::-1])
        rows.append([f"p{i}.png", f"slide-{i % 4}", *present])
    path = folder / "labels.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


@pytest.fixture(scope="session")
def table(labels_csv):
    return read_labels([labels_csv])


@pytest.fixture(scope="session")
def config():
    return load_config(None, SETTINGS)


@pytest.fixture(scope="session")
def network(config):
    torch.manual_seed(3)
    return build_network(config.model, n_classes=len(CLASSES)).eval()


@pytest.fixture(scope="session")
def card(config, network):
    return ModelCard.describing(
        config,
        encoder=network.encoder,
        classes=qupath_classes(CLASSES),
        label_columns=CLASSES,
        mpp=0.5,
        patch_px=SIDE,
        calibration=Calibration(temperature=(1.0,) * 3, offset=(0.0,) * 3),
        metrics={},
        data_fingerprint="sha256:none",
    )
