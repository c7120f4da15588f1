"""From stitched logits to labels: the soft gate, one softmax, one argmax."""

from __future__ import annotations

import numpy as np

from wsi_lpd.segment.slide_map import NO_PROTOTYPE
from wsi_lpd.segment.stitch import StitchedRows
from wsi_lpd.types import BACKGROUND, BoolArray, Float32Array, UInt8Array

_LEAST_PROBABILITY = 1e-4


def decide(rows: StitchedRows, *, tissue: BoolArray, gated: bool) -> tuple[UInt8Array, UInt8Array, UInt8Array]:
    """Labels, probabilities and prototypes of finished rows.

    Args:
        rows: What the stitcher handed out.
        tissue: True where there is tissue, (rows, W); elsewhere the result is background.
        gated: Whether to add log p of each class's presence to its logits (the background has no gate).

    Returns:
        Labels (rows, W), probabilities (C + 1, rows, W) as 0 to 255 with the background first, and the most similar
        prototype of the winner (rows, W).
    """
    logits = rows.logits
    if gated:
        bias = np.log(np.maximum(rows.presence, _LEAST_PROBABILITY))
        logits = np.concatenate([logits[:1], logits[1:] + bias])
    probabilities = _softmax(logits)
    winner = probabilities.argmax(axis=0)
    inside = rows.covered & tissue
    probabilities[:, ~inside] = 0
    probabilities[BACKGROUND, ~inside] = 1
    labels = np.where(inside, winner, BACKGROUND).astype(np.uint8)
    of_winner = np.take_along_axis(rows.prototypes, np.maximum(labels, 1)[None].astype(np.int64) - 1, axis=0)[0]
    prototypes = np.where(labels == BACKGROUND, NO_PROTOTYPE, of_winner).astype(np.uint8)
    return labels, np.round(probabilities * 255).astype(np.uint8), prototypes


def _softmax(logits: Float32Array) -> Float32Array:
    exponent = np.exp(logits - logits.max(axis=0, keepdims=True))
    result: Float32Array = exponent / exponent.sum(axis=0, keepdims=True)
    return result
