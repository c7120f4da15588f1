"""Tissue detection on a thumbnail: pure array functions.

Stains absorb some colours more than others: haematoxylin and eosin absorb most in green, DAB in blue. Shadows, dust,
black borders and black ink absorb all colours alike. So tissue is where the optical density *differs* between the
channels (called chroma here), relative to the glass of the same slide, and does not have the colour balance of ink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from wsi_lpd.config import TissueConfig
from wsi_lpd.memory import give_back_freed_blocks
from wsi_lpd.slide.tissue.ink import by_bands, channel_range, find_ink, optical_density
from wsi_lpd.types import AnyArray, BoolArray, Float32Array, Int64Array, UInt8Array

_INK_HALO_UM: Final = 20.0
"""Ink fades over about this distance, into colours that tissue also has."""

_BLACK: Final = 20
"""Black borders added by scanners reach up to this grey value after JPEG compression and smoothing."""

_LEAST_COLOUR: Final = 0.2
"""Chroma as a share of the highest density: 0.45 (thick folds) to 0.9 (eosin) in stains, below 0.2 in shadows."""

_NO_MPP_SIDE_UM: Final = 20_000.0
"""Without a resolution the thumbnail is assumed to show a section of 2 cm, so that areas in um2 keep their meaning."""


@dataclass(frozen=True)
class _Preset:
    """Thresholds in optical density (natural logarithm of glass / pixel)."""

    least_chroma: float
    most_chroma: float
    grey_density: float | None
    black_ink: bool
    close_um: float
    hole_factor: float


_PRESETS: Final = {
    # Chroma 0.04 is an eosin that absorbs 4 % of the light: JPEG noise on glass, smoothed over 16 um, is below 0.02.
    "default": _Preset(
        least_chroma=0.04, most_chroma=0.10, grey_density=None, black_ink=True, close_um=40.0, hole_factor=1.0
    ),
    # Fat consists of thin membranes around drops of about 100 um: gaps are bridged, and holes of that size are filled.
    "pale": _Preset(
        least_chroma=0.025, most_chroma=0.04, grey_density=None, black_ink=True, close_um=120.0, hole_factor=8.0
    ),
    "dark": _Preset(
        least_chroma=0.04, most_chroma=0.10, grey_density=0.35, black_ink=False, close_um=40.0, hole_factor=1.0
    ),
}


def tissue_from_thumbnail(rgb: UInt8Array, *, mpp: float | None, config: TissueConfig) -> BoolArray:
    """Detects stained tissue on a thumbnail.

    Args:
        rgb: The slide at about `config.mpp`, (H, W, 3).
        mpp: Micrometres per pixel of the thumbnail; None if unknown.
        config: Preset and areas; its `mask` is ignored here.

    Returns:
        (H, W), True on tissue; all False on a blank slide.
    """
    if config.preset == "everything":
        return np.ones(rgb.shape[:2], bool)
    preset = _PRESETS[config.preset]
    um_per_px = _NO_MPP_SIDE_UM / max(rgb.shape[:2]) if mpp is None else mpp
    glass = glass_colour(rgb)
    smooth = cv2.GaussianBlur(rgb, (0, 0), max(0.5, 8.0 / um_per_px)).astype(np.uint8, copy=False)
    free = ~find_ink(smooth, glass, black=preset.black_ink, halo_px=_INK_HALO_UM / um_per_px)
    found = _is_stained(smooth, glass, preset)
    found &= free
    found &= channel_range(smooth)[1] > _BLACK
    del smooth
    found = _closed(found, preset.close_um / um_per_px)
    found &= free
    del free
    give_back_freed_blocks()  # the labels of connected components take four bytes per pixel
    found = ~_without_small(~found, config.max_hole_um2 * preset.hole_factor / um_per_px**2)
    return _without_small(found, config.min_area_um2 / um_per_px**2)


def looks_like_fluorescence(rgb: UInt8Array) -> bool:
    """Whether the thumbnail is bright on dark: mostly dark, no glass, and little of medium brightness.

    A bright-field slide whose unscanned area is black still has glass or a large area of stained tissue.
    """
    lowest, luminance = channel_range(rgb)
    glass = ((luminance > 170) & (luminance - lowest < 30)).mean()
    return bool((luminance < 60).mean() > 0.6 and glass < 0.01 and (lowest > 60).mean() < 0.05)


def glass_colour(rgb: UInt8Array) -> Float32Array:
    """RGB of the empty glass: the most common bright, nearly grey, flat colour; near white if there is none.

    Scanners fill unscanned areas with pure white, so it counts only if nothing else is bright.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    candidates: BoolArray = cv2.absdiff(grey, cv2.blur(grey, (5, 5))) <= 2
    candidates &= by_bands(_is_colourless, rgb)
    candidates &= (grey > 190) & (grey < 254)
    if candidates.mean() < 0.005:
        return np.full(3, 250.0, np.float32)
    mode = int(np.argmax(np.convolve(_histogram(grey, candidates), np.ones(5), "same")))
    near = candidates & (cv2.inRange(grey, mode - 3, mode + 3) > 0)
    return np.array([_median(_histogram(rgb[..., channel], near)) for channel in range(3)], np.float32)


def _is_colourless(rgb: UInt8Array) -> BoolArray:
    lowest, highest = channel_range(rgb)
    colourless: BoolArray = highest - lowest <= 16
    return colourless


def _histogram(image: AnyArray, chosen: BoolArray) -> Int64Array:
    """Counts of each grey value (256,) where `chosen` (H, W); row by row, since counting takes 8 bytes per pixel."""
    counts = np.zeros(256, np.int64)
    for row, mask in zip(image, chosen, strict=True):
        counts += np.bincount(row[mask], minlength=256)
    return counts


def _median(counts: Int64Array) -> float:
    """The median of a histogram (256,), as `np.median` defines it."""
    upto = np.cumsum(counts)
    middle = [(upto[-1] - 1) // 2, upto[-1] // 2]
    return float(np.searchsorted(upto, middle, side="right").mean())


def _is_stained(rgb: UInt8Array, glass: Float32Array, preset: _Preset) -> BoolArray:
    def chroma_of(density: Float32Array) -> Float32Array:
        lowest, highest = channel_range(density)
        chroma: Float32Array = highest - lowest
        return chroma

    def mean_of(density: Float32Array) -> Float32Array:
        mean: Float32Array = density.mean(axis=2)
        return mean

    def by_density(of: Callable[[Float32Array], AnyArray]) -> AnyArray:
        return by_bands(lambda rows: of(optical_density(rows, glass)), rgb)

    has_colours = by_density(lambda density: chroma_of(density) >= 0.02).mean() >= 0.001
    signal_of = chroma_of if has_colours else mean_of  # in a grey scan only darkness shows tissue
    levels = by_density(lambda density: np.clip(signal_of(density) * 400, 0, 255).astype(np.uint8))
    otsu = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0] / 400
    least = np.clip(otsu, preset.least_chroma, preset.most_chroma)

    def is_stained(density: Float32Array) -> BoolArray:
        signal = signal_of(density)
        stained: BoolArray = (signal > least) & (signal > _LEAST_COLOUR * channel_range(density)[1])
        return stained if preset.grey_density is None else stained | (mean_of(density) > preset.grey_density)

    return by_density(is_stained)


def _closed(mask: BoolArray, diameter_px: float) -> BoolArray:
    """Morphological closing with a disc: bridges gaps up to its diameter."""
    size = 2 * round(diameter_px / 2) + 1
    if size < 3:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), size, size, size, size, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[size:-size, size:-size]
    return closed.astype(bool)


def _without_small(mask: BoolArray, least_px: float) -> BoolArray:
    """The mask without connected components of fewer than `least_px` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least_px
    keep[0] = False
    kept: BoolArray = keep[labels]
    return kept
