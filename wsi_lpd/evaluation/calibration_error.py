"""Calibration of image-level probabilities; labels are used for the score only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from wsi_lpd.evaluation.metrics import mean_of_scored, or_none, ratio
from wsi_lpd.types import AnyArray

N_BINS: Final = 15
_CUT: Final = 0.5


def expected_calibration_error(probabilities: AnyArray, labels: AnyArray, *, n_bins: int = N_BINS) -> float:
    """Mean gap of predicted probability and observed frequency, in bins of equal width (Guo et al. 2017, binary).

    In each bin the gap is |mean probability - share of positives|, weighted by the bin's share of the cells.

    Args:
        probabilities: Of the label being 1, in [0, 1], any shape.
        labels: 1, 0, or -1 (not labelled, left out), the same shape.
        n_bins: Bins of [0, 1]; 1.0 falls into the last.

    Returns:
        In [0, 1]; NaN if nothing is labelled.

    Raises:
        ValueError: If the shapes differ or a probability is outside [0, 1].
    """
    p, y = np.asarray(probabilities, dtype=float), np.asarray(labels)
    if p.shape != y.shape:
        raise ValueError(f"found probabilities of shape {p.shape} and labels of shape {y.shape}, expected the same")
    labelled = y >= 0
    p, y = p[labelled], y[labelled].astype(float)
    if not len(p):
        return float("nan")
    if not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"found probabilities from {p.min():.4g} to {p.max():.4g}, expected 0 to 1")
    bins = np.minimum((p * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, weights=p - y, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(p))


@dataclass(frozen=True)
class ImageLevelScores:
    """How well the presence of classes in images is predicted.

    Attributes:
        classes: Their names.
        n_images: Images with labels.
        ece: Expected calibration error over all cells (image, class), 15 bins of equal width.
        ece_per_class: The same for each class.
        exact_match: Share of images where every class is right at a threshold of one half.
        f1: F1 of each class at one half; NaN where it neither occurs nor is predicted.
        present: Images that contain the class, by class.
    """

    classes: tuple[str, ...]
    n_images: int
    ece: float
    ece_per_class: tuple[float, ...]
    exact_match: float
    f1: tuple[float, ...]
    present: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is null."""
        rows = zip(self.classes, self.ece_per_class, self.f1, self.present, strict=True)
        return {
            "n_images": self.n_images,
            "n_bins": N_BINS,
            "ece": or_none(self.ece),
            "exact_match": or_none(self.exact_match),
            "mean_f1": or_none(mean_of_scored(np.array(self.f1))),
            "per_class": {
                name: {"ece": or_none(ece), "f1": or_none(f1), "images_with_it": n} for name, ece, f1, n in rows
            },
        }


def image_level_scores(probabilities: AnyArray, labels: AnyArray, classes: Sequence[str]) -> ImageLevelScores:
    """Scores the presence of classes in images.

    Args:
        probabilities: (N, C), in [0, 1].
        labels: (N, C): 1, 0, or -1 (not labelled: left out).
        classes: C names.
    """
    p, y = np.asarray(probabilities, dtype=float), np.asarray(labels)
    predicted, labelled = p > _CUT, y >= 0
    hits = ((y == 1) & predicted).sum(axis=0)
    n_predicted, n_true = (predicted & labelled).sum(axis=0), (y == 1).sum(axis=0)
    right = (predicted == (y == 1)) | ~labelled
    return ImageLevelScores(
        classes=tuple(classes),
        n_images=len(p),
        ece=expected_calibration_error(p, y),
        ece_per_class=tuple(expected_calibration_error(p[:, c], y[:, c]) for c in range(len(classes))),
        exact_match=float(right.all(axis=1).mean()) if len(p) else float("nan"),
        f1=tuple(ratio(2 * hits, n_predicted + n_true).tolist()),
        present=tuple(n_true.tolist()),
    )
