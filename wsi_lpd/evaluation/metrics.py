"""Pure counts and ratios."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from wsi_lpd.types import BACKGROUND, IGNORE, AnyArray, Int64Array, UInt8Array

_PIXELS_AT_ONCE: Final = 1 << 22


def confusion(truth: UInt8Array, prediction: UInt8Array, n_classes: int) -> Int64Array:
    """Counts pixels by true and predicted value.

    Args:
        truth: Values 0 (background) to `n_classes`; pixels of 255 are left out.
        prediction: Same shape and values; 255 counts as background: an undecided pixel is a wrong one.
        n_classes: C, without background.

    Returns:
        int64 (C + 1, C + 1), rows truth, columns prediction, background first.

    Raises:
        ValueError: If shapes differ or a value is neither 255 nor in 0 to C.
    """
    if truth.shape != prediction.shape:
        raise ValueError(
            f"found a truth of shape {truth.shape} and a prediction of shape {prediction.shape}, expected one"
        )
    size = n_classes + 1
    counts = np.zeros(65536, dtype=np.int64)
    flat_truth, flat_prediction = truth.reshape(-1), prediction.reshape(-1)
    for start in range(0, len(flat_truth), _PIXELS_AT_ONCE):
        part = slice(start, start + _PIXELS_AT_ONCE)
        counts += np.bincount(flat_truth[part].astype(np.uint16) * 256 + flat_prediction[part], minlength=65536)
    table = counts.reshape(256, 256)[:IGNORE]  # without the row of ignored truth
    table[:, BACKGROUND] += table[:, IGNORE]
    if table[size:].any() or table[:, size:IGNORE].any():
        found = sorted({*np.flatnonzero(table.any(axis=1)), *np.flatnonzero(table[:, :IGNORE].any(axis=0))})
        raise ValueError(f"found the values {[int(v) for v in found]}, expected 0 to {n_classes} or 255")
    return table[:size, :size].copy()


def ratio(part: AnyArray, whole: AnyArray) -> AnyArray:
    """Part divided by whole; NaN where the whole is 0 and there is nothing to score."""
    result: AnyArray = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
    return result


def mean_of_scored(values: AnyArray) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    scored = values[~np.isnan(values)]
    return float(scored.mean()) if len(scored) else float("nan")


def or_none(value: float) -> float | None:
    """The value, or None for NaN: JSON has no NaN."""
    return None if math.isnan(value) else float(value)
