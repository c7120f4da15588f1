"""Haematoxylin and eosin: converts stain densities to colours, differently for every slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_lpd.types import AnyArray, UInt8Array

_HAEMATOXYLIN = (0.55, 0.74, 0.34)
_EOSIN = (0.12, 0.88, 0.38)
"""Optical densities (R, G, B) of unit density; between the vectors of Ruifrok (2001) and of Macenko (2009)."""

CAMERA_NOISE: Final = 3.5
"""Standard deviation in grey levels, before the painter's blur halves it."""


@dataclass(frozen=True)
class Stain:
    """The stain appearance of one slide."""

    haematoxylin: NDArray[np.float64]
    """Optical density (R, G, B) of unit haematoxylin."""
    eosin: NDArray[np.float64]
    white: NDArray[np.float64]
    """Colour of empty glass (R, G, B), 0 to 255."""


def make_stain(seed: int) -> Stain:
    """Draws a random stain: hue and strength of both dyes, and the colour of the lamp."""
    rng = np.random.default_rng([seed, 101])
    haematoxylin = np.array(_HAEMATOXYLIN) * rng.normal(1, (0.09, 0.03, 0.13))
    eosin = np.array(_EOSIN) * rng.normal(1, (0.25, 0.04, 0.14))
    return Stain(
        haematoxylin * np.exp(rng.normal(0, 0.13)),
        eosin * np.exp(rng.normal(0, 0.14)),
        np.clip(rng.normal((241, 240, 242), (3, 3, 3)), 230, 250),
    )


def stained(haematoxylin: AnyArray, eosin: AnyArray, stain: Stain, rng: np.random.Generator) -> UInt8Array:
    """Beer and Lambert's law, and the noise of the camera: densities (H, W) to RGB (H, W, 3)."""
    rgb = np.empty((*haematoxylin.shape, 3), np.uint8)
    for channel in range(3):
        density = haematoxylin * np.float32(stain.haematoxylin[channel]) + eosin * np.float32(stain.eosin[channel])
        light = np.exp(-density) * np.float32(stain.white[channel])
        light += np.float32(CAMERA_NOISE) * rng.standard_normal(light.shape, dtype=np.float32)
        rgb[..., channel] = np.clip(light + 0.5, 0, 255)
    return rgb
