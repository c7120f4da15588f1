"""From stitched logits to labels, inside the tissue."""

from __future__ import annotations

import numpy as np
import torch

from wsi_lpd.models.activation import label_probabilities, labels_of
from wsi_lpd.segment.slide_map import NO_PROTOTYPE
from wsi_lpd.segment.stitch import StitchedRows
from wsi_lpd.types import BACKGROUND, BoolArray, UInt8Array


def decide(rows: StitchedRows, *, tissue: BoolArray, gated: bool) -> tuple[UInt8Array, UInt8Array, UInt8Array]:
    """Labels, probabilities and prototypes of finished rows.

    Args:
        rows: What the stitcher handed out.
        tissue: True where there is tissue, (rows, W); elsewhere the result is background.
        gated: Whether a class is weighed by the probability that it occurs nearby.

    Returns:
        Labels (rows, W), probabilities (C + 1, rows, W) as 0 to 255 with the background first, and the most similar
        prototype of the winner (rows, W).
    """
    logits, presence = torch.from_numpy(rows.logits)[None], torch.from_numpy(rows.presence)[None]
    likelihood = label_probabilities(logits, presence if gated else None)
    winner = labels_of(likelihood)[0].numpy()
    probabilities = likelihood[0].numpy()
    inside = rows.covered & tissue
    probabilities[:, ~inside] = 0
    probabilities[BACKGROUND, ~inside] = 1
    labels = np.where(inside, winner, BACKGROUND).astype(np.uint8)
    of_winner = np.take_along_axis(rows.prototypes, np.maximum(labels, 1)[None].astype(np.int64) - 1, axis=0)[0]
    prototypes = np.where(labels == BACKGROUND, NO_PROTOTYPE, of_winner).astype(np.uint8)
    return labels, np.round(probabilities * 255).astype(np.uint8), prototypes
