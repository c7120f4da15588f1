"""The result of segmenting one slide, on the label-map grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsi_lpd.classes import TissueClass
from wsi_lpd.types import BACKGROUND, UInt8Array

NO_PROTOTYPE = 255


@dataclass(frozen=True)
class SlideMap:
    """A label map and what it rests on.

    Frame: pixel (row i, column j) covers level-0 x from j * downsample to (j + 1) * downsample, y likewise with i.
    """

    labels: UInt8Array
    """(H, W): 0 background, class i is i + 1."""
    probabilities: UInt8Array
    """(C + 1, H, W): probability of each label-map value, so background first; 255 is 1."""
    prototypes: UInt8Array
    """(H, W): which prototype of the winning class is most similar; `NO_PROTOTYPE` on background."""
    downsample: float
    """Level-0 pixels per map pixel."""
    mpp: float
    """Micrometres per map pixel."""
    classes: tuple[TissueClass, ...]
    n_windows: int
    """Windows that the network saw."""

    @classmethod
    def blank(
        cls, *, height: int, width: int, downsample: float, mpp: float, classes: tuple[TissueClass, ...], n_windows: int
    ) -> SlideMap:
        """A map that is background everywhere."""
        probabilities = np.zeros((len(classes) + 1, height, width), np.uint8)
        probabilities[BACKGROUND] = 255
        return cls(
            labels=np.zeros((height, width), np.uint8),
            probabilities=probabilities,
            prototypes=np.full((height, width), NO_PROTOTYPE, np.uint8),
            downsample=downsample,
            mpp=mpp,
            classes=classes,
            n_windows=n_windows,
        )
