"""Labelled patches of two textures of different colour and direction, never the same patch twice."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def texture(rng, present, side):
    """A pink ground; class 0 adds purple dots in the upper part, class 1 steep red stripes in the lower."""
    patch = np.full((side, side, 3), (225, 170, 200), np.float32) + rng.normal(0, 6, (side, side, 1))
    if present[1] == 1:
        y, x = np.mgrid[:side, :side]
        stripes = np.sin((x * 0.3 + y) * 0.9 + rng.uniform(0, 6)) > 0.3
        patch[side // 2 :][stripes[side // 2 :]] = (200, 60, 90)
    if present[0] == 1:
        for x, y in rng.integers(2, side - 2, (14, 2)):
            cv2.circle(patch, (int(x), int(y) // 2), 2, (90, 40, 130), -1)
    return np.clip(patch, 0, 255).astype(np.uint8)


def write_patches(folder: Path, classes: Sequence[str], labels: Sequence[Sequence[object]], *, side: int) -> Path:
    """One image per row of labels (1, 0 or empty), of four slides, and the table that names them."""
    rng = np.random.default_rng(5)
    rows = [["image", "slide", *classes]]
    for i, present in enumerate(labels):
        cv2.imwrite(str(folder / f"p{i}.png"), texture(rng, present, side)[..., ::-1])
        rows.append([f"p{i}.png", f"slide-{i % 4}", *present])
    path = folder / "labels.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path
