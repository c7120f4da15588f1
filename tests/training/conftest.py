"""A small labelled set."""

from __future__ import annotations

import pytest
from dots_and_stripes import write_patches

from wsi_lpd.labels.sources import read_labels


@pytest.fixture(scope="session")
def labels_csv(tmp_path_factory):
    labels = [[(1, 0), (0, 1), (1, 1)][i % 3] for i in range(22)]
    labels[6] = ("", labels[6][1])  # not labelled
    return write_patches(tmp_path_factory.mktemp("patches"), ("dots", "stripes"), labels, side=48)


@pytest.fixture(scope="session")
def table(labels_csv):
    return read_labels([labels_csv])
