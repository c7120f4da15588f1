"""From stitched logits to labels, inside the tissue."""

from __future__ import annotations

import numpy as np
import torch

from wsi_lpd.models.activation import label_probabilities, labels_of
from wsi_lpd.overlay.raster.strips import NO_PROTOTYPE, Strip
from wsi_lpd.prediction.stitch import StitchedRows
from wsi_lpd.types import BoolArray, UInt8Array

_BLOCK_PX = 256
"""Columns that are decided at once: with the rows of a strip few enough for a processor's cache."""


def decide(rows: StitchedRows, *, tissue: BoolArray, gated: bool) -> Strip:
    """Labels, probabilities and prototypes of finished rows.

    Args:
        rows: What the stitcher handed out.
        tissue: True where there is tissue, (rows, W); elsewhere the result is background.
        gated: Whether a class is weighed by the probability that it occurs nearby.
    """
    height, width = rows.covered.shape
    strip = Strip.blank(rows=height, width=width, n_classes=len(rows.presence))
    inside = rows.covered & tissue
    for left in range(0, width, _BLOCK_PX):
        columns = slice(left, left + _BLOCK_PX)
        if inside[:, columns].any():
            _decide(rows, columns, inside[:, columns], strip, gated=gated)
    return strip


def _decide(rows: StitchedRows, columns: slice, inside: BoolArray, strip: Strip, *, gated: bool) -> None:
    """Fills the columns of `strip` where they are inside."""
    logits = torch.from_numpy(rows.logits[:, :, columns])[None]
    presence = torch.from_numpy(rows.presence[:, :, columns])[None] if gated else None
    likelihood = label_probabilities(logits, presence)
    labels = labels_of(likelihood)[0].numpy()
    shares = np.rint(likelihood[0].mul_(255).numpy()).astype(np.uint8)
    np.copyto(strip.labels[:, columns], labels, where=inside)
    np.copyto(strip.probabilities[:, :, columns], shares, where=inside)
    np.copyto(strip.prototypes[:, columns], _of_labels(rows.prototypes[:, :, columns], labels), where=inside)


def _of_labels(prototypes: UInt8Array, labels: UInt8Array) -> UInt8Array:
    """The prototype of each pixel's class, or `NO_PROTOTYPE`, (rows, W), of those of all classes, (C, rows, W)."""
    chosen = np.full(labels.shape, NO_PROTOTYPE, np.uint8)
    for i, of_class in enumerate(prototypes, start=1):
        chosen &= of_class | (labels != i) * np.uint8(NO_PROTOTYPE)  # all bits are set; a mask takes six times as long
    return chosen
