"""Pictures of one patch and one prototype: the patch with its strongest pixels outlined, and the heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from wsi_lpd.prototypes.tally import Example
from wsi_lpd.types import BoolArray, Float32Array, Size, UInt8Array

Color = tuple[int, int, int]

HEAT_COLORS: Final[tuple[Color, ...]] = ((255, 255, 255), (255, 237, 160), (254, 178, 76), (240, 59, 32), (128, 0, 38))
"""From cold to hot, evenly spaced: white, then ColorBrewer's YlOrRd."""

_WHITE: Final = (255, 255, 255)
_BLACK: Final = (0, 0, 0)
_GAP_PX: Final = 4
_HEAT_OPACITY: Final = 0.8
_PALE: Final = 0.5
"""Share of white in the grey patch under a heat map."""


class HeatRange(NamedTuple):
    """Similarities at the two ends of the heat colours."""

    low: float
    high: float


def heat_range(examples: Sequence[Example]) -> HeatRange:
    """From the median to the highest similarity of the maps shown (at least one), rounded outwards to hundredths.

    Cosines of a trained network fill only a part of -1 to 1, which depends on its encoder and on the prototype; on a
    fixed range they would all be one colour.
    """
    values = np.concatenate([example.similarity.reshape(-1) for example in examples])
    low = math.floor(float(np.median(values)) * 100) / 100
    high = math.ceil(float(values.max()) * 100) / 100
    return HeatRange(low, max(high, low + 0.01))


def shown_px(patch_px: int, most_px: int) -> int:
    """Side at which a patch is drawn: a whole multiple or a whole fraction of its own, so that nothing blurs."""
    if patch_px <= most_px:
        return patch_px * (most_px // patch_px)
    return patch_px // -(-patch_px // most_px)


def pair_px(side_px: int) -> Size:
    """Size of the result of `draw_pair`."""
    return Size(2 * side_px + _GAP_PX, side_px)


def draw_pair(
    patch: UInt8Array, similarity: Float32Array, *, side_px: int, strong: float, heat: HeatRange
) -> UInt8Array:
    """A patch beside its heat map, RGB (side, 2 side + gap, 3).

    Args:
        patch: RGB (S, S, 3).
        similarity: Of the prototype at every position, (h, w).
        side_px: Result of `shown_px`.
        strong: Positions at or above this similarity are outlined on the patch.
        heat: Similarities of the coldest and the hottest colour.
    """
    size = (side_px, side_px)
    way = cv2.INTER_NEAREST if side_px > len(patch) else cv2.INTER_AREA
    shown: UInt8Array = np.asarray(cv2.resize(patch, size, interpolation=way), dtype=np.uint8)
    smooth: Float32Array = np.asarray(cv2.resize(similarity, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    width, height = pair_px(side_px)
    pair = np.full((height, width, 3), 255, np.uint8)
    pair[:, :side_px] = _outlined(shown, smooth >= strong, least_px=side_px**2 / similarity.size)
    pair[:, -side_px:] = _heated(shown, smooth, heat)
    return pair


def heat_colors(share: Float32Array) -> Float32Array:
    """Colours for shares of the heat range, 0 (cold) to 1 (hot): RGB 0 to 255, (..., 3)."""
    stops = np.linspace(0, 1, len(HEAT_COLORS))
    channels = [np.interp(share, stops, [color[i] for color in HEAT_COLORS]) for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def ink_on(color: Color) -> Color:
    """Black or white, whichever is legible on a colour."""
    red, green, blue = color
    return _BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _WHITE


def similarity_color(value: float) -> Color:
    """White at 0, red towards 1 (two prototypes respond alike), blue towards -1 (they exclude each other)."""
    full = (214, 47, 39) if value > 0 else (69, 117, 180)
    red, green, blue = (round(255 + (channel - 255) * min(1.0, abs(value))) for channel in full)
    return red, green, blue


def _outlined(picture: UInt8Array, inside: BoolArray, *, least_px: float) -> UInt8Array:
    """Outlines in black with a white edge, so that they show on any stain; specks are left out."""
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    kept = [outline for outline in outlines if cv2.contourArea(outline) >= least_px]
    result = picture.copy()
    cv2.drawContours(result, kept, -1, _WHITE, 3, cv2.LINE_AA)
    cv2.drawContours(result, kept, -1, _BLACK, 1, cv2.LINE_AA)
    return result


def _heated(picture: UInt8Array, similarity: Float32Array, heat: HeatRange) -> UInt8Array:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    pale = 255 * _PALE + grey * (1 - _PALE)
    share = np.clip((similarity - heat.low) / (heat.high - heat.low), 0, 1).astype(np.float32)
    opacity = _HEAT_OPACITY * np.sqrt(share)[..., None]
    mixed = pale * (1 - opacity) + heat_colors(share) * opacity
    return np.asarray(mixed.round(), dtype=np.uint8)
