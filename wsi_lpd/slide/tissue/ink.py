"""Detects felt-pen marks, which differ from stains in the balance of the colours they absorb."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import cv2
import numpy as np

from wsi_lpd.types import AnyArray, BoolArray, Float32Array, UInt8Array

_BAND_PX: Final = 2**18


def optical_density(rgb: UInt8Array, glass: Float32Array) -> Float32Array:
    """-ln of the transmitted share of light, relative to the glass; at least 0, (H, W, 3)."""
    values = np.arange(256, dtype=np.float32)[None, :, None]
    passed = np.maximum(values, 1.0) / glass
    of_value = np.maximum(-np.log(passed), np.float32(0))
    return cv2.LUT(rgb, of_value).astype(np.float32, copy=False)


def channel_range(image: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Lowest and highest of the three channels of (H, W, 3), each (H, W).

    NumPy's own `min` and `max` take ten times as long along such a short axis.
    """
    first, second, third = image[..., 0], image[..., 1], image[..., 2]
    return np.minimum(np.minimum(first, second), third), np.maximum(np.maximum(first, second), third)


def by_bands(of: Callable[[UInt8Array], AnyArray], rgb: UInt8Array) -> AnyArray:
    """Applies `of` to a few rows at a time, since the densities of a large thumbnail take much memory.

    Args:
        of: A pixelwise function from rows of the image (rows, W, 3) to (rows, W, ...).
        rgb: (H, W, 3).
    """
    rows = max(1, _BAND_PX // rgb.shape[1])
    return np.concatenate([of(rgb[top : top + rows]) for top in range(0, len(rgb), rows)])


def find_ink(rgb: UInt8Array, glass: Float32Array, *, black: bool, halo_px: float) -> BoolArray:
    """Detects pen ink: cores that look like no stain, and attached pixels of a similar colour.

    Measured on real slides, as the density in red and in blue relative to green: haematoxylin 0.5 and 0.55, eosin 0.2
    and 0.6, blood 0.3 and 0.65; red ink below 0.2 and about 0.8; green and blue ink above 1.2 in red. Black ink absorbs
    all colours nearly alike. Faint ink overlaps with some stains (orange eosin, brown DAB, blue mucin), so ink is
    searched for only around cores that have its colour and are too dense for a stain at this scale.

    Args:
        rgb: (H, W, 3), denoised.
        glass: Colour of the glass, (3,).
        black: Also detect black ink; thick or very dark tissue resembles it.
        halo_px: Margin added around a mark, since ink fades.
    """
    found = np.zeros(rgb.shape[:2], bool)
    for signs in [_cold, _warm, *([_black] if black else [])]:
        found |= _grown(by_bands(partial(_signs_of, signs, glass), rgb))
    size = 2 * round(halo_px) + 1
    widened = cv2.dilate(found.view(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    marked: BoolArray = widened > 0
    return marked


def _signs_of(signs: Callable[[Float32Array], UInt8Array], glass: Float32Array, rgb: UInt8Array) -> UInt8Array:
    return signs(optical_density(rgb, glass))


def _cold(density: Float32Array) -> UInt8Array:
    """Green and blue ink."""
    red, green, _ = cv2.split(density)
    return _signs(
        core=(red > 1.2 * green) & (red > 0.6),
        # Over eosin, blue ink resembles haematoxylin, but is denser than nuclei at this scale.
        rim=((red > 1.1 * green) & (red > 0.1)) | ((red > 0.85 * green) & (red > 1.2)),
    )


def _warm(density: Float32Array) -> UInt8Array:
    """Red ink."""
    red, green, blue = cv2.split(density)
    is_red = (blue > 0.72 * green) & (blue < 1.3 * green)
    return _signs(
        core=is_red & (blue > 0.76 * green) & (red < 0.22 * green) & (green > 1.2),
        # A single stroke of red felt pen is pinker than a core (0.1 and 0.68) and close to a vivid eosin.
        rim=(is_red & ((red < 0.3 * green) | (green > 0.8)) & (green > 0.08))
        | ((red < 0.12 * green) & (blue > 0.65 * green) & (blue < 1.3 * green) & (green > 0.5)),
    )


def _black(density: Float32Array) -> UInt8Array:
    """Black ink."""
    red, green, blue = cv2.split(density)
    lowest, highest = channel_range(density)
    mean, chroma = (red + green + blue) / 3, highest - lowest
    return _signs(core=(mean > 1.6) & (chroma < 0.42 * highest), rim=(mean > 0.9) & (chroma < 0.5 * highest))


def _signs(*, core: BoolArray, rim: BoolArray) -> UInt8Array:
    """2 on a core, 1 elsewhere on a rim, 0 elsewhere."""
    return np.where(core, np.uint8(2), rim.view(np.uint8))


def _grown(signs: UInt8Array) -> BoolArray:
    """The connected components of core and rim pixels that contain a core pixel."""
    is_core: BoolArray = signs == 2
    if not is_core.any():
        return is_core
    n_pieces, labels = cv2.connectedComponents(np.minimum(signs, 1), connectivity=8)
    holds_core = np.zeros(n_pieces, bool)
    holds_core[labels[is_core]] = True
    grown: BoolArray = holds_core[labels]
    return grown
