"""A tiny network with random weights, and patches with labels, some with masks."""

from __future__ import annotations

import pytest
import torch
from dots_and_stripes import write_patches
from tiny_prototypes import CLASSES, LABELS, SETTINGS, SIDE

from wsi_lpd.classes import qupath_classes
from wsi_lpd.config import load_config
from wsi_lpd.labels.sources import read_labels
from wsi_lpd.models.network import build_network
from wsi_lpd.models.saved.card import Calibration
from wsi_lpd.models.saved.describe import describe_model


@pytest.fixture(scope="session")
def labels_csv(tmp_path_factory):
    labels = [LABELS[i % 5] if i != 13 else LABELS[5] for i in range(21)]
    return write_patches(tmp_path_factory.mktemp("patches"), CLASSES, labels, side=SIDE)


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
    return describe_model(
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
