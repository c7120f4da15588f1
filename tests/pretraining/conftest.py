"""Unlabelled patches, and settings of a pretraining that takes seconds."""

from __future__ import annotations

import pytest
from dots_and_stripes import write_patches

from wsi_lpd.labels.unlabelled import read_unlabelled


@pytest.fixture(scope="session")
def patches_csv(tmp_path_factory):
    """Some without any label."""
    labels = [[(1, 0), (0, 1), (1, 1), ("", "")][i % 4] for i in range(26)]
    return write_patches(tmp_path_factory.mktemp("patches"), ("dots", "stripes"), labels, side=48)


@pytest.fixture(scope="session")
def table(patches_csv):
    return read_unlabelled([patches_csv])
