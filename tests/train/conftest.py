"""A small labelled set: two textures of different colour and direction, never the same patch twice."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from wsi_lpd.patches.labels import read_labels


def texture(rng, present):
    """A pink ground; class 0 adds purple dots, class 1 adds steep red stripes in the lower part."""
    patch = np.full((48, 48, 3), (225, 170, 200), np.float32) + rng.normal(0, 6, (48, 48, 1))
    if present[1]:
        y, x = np.mgrid[:48, :48]
        stripes = np.sin((x * 0.3 + y) * 0.9 + rng.uniform(0, 6)) > 0.3
        patch[24:][stripes[24:]] = (200, 60, 90)
    if present[0]:
        for x, y in rng.integers(2, 46, (14, 2)):
            cv2.circle(patch, (int(x), int(y) // 2), 2, (90, 40, 130), -1)
    return np.clip(patch, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def labels_csv(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(5)
    rows = [["image", "slide", "dots", "stripes"]]
    for i in range(22):
        present = [(1, 0), (0, 1), (1, 1)][i % 3]
        cv2.imwrite(str(folder / f"p{i}.png"), texture(rng, present)[..., ::-1])
        rows.append([f"p{i}.png", f"slide-{i % 4}", *present])
    rows[7][2] = ""  # not labelled
    path = folder / "labels.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


@pytest.fixture(scope="session")
def table(labels_csv):
    return read_labels([labels_csv])
