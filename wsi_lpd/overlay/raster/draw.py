"""The overlay as a picture: thumbnail, translucent classes, outlines, legend, scale bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsi_lpd.classes import TissueClass
from wsi_lpd.files import replacing
from wsi_lpd.overlay.raster.label_strips import LabelStrips, label_counts, sampled
from wsi_lpd.types import BACKGROUND, IGNORE, BoolArray, UInt8Array

_PANEL_COLOR: Final = (250, 250, 250)
_INK: Final = (40, 40, 40)
_TISSUE_COLOR: Final = (90, 90, 90)
_ROUND_LENGTHS: Final = (1, 2, 5)


def draw_overlay(
    thumbnail: UInt8Array,
    strips: LabelStrips,
    classes: Sequence[TissueClass],
    *,
    mpp: float | None = None,
    tissue: BoolArray | None = None,
    title: str = "",
    opacity: float = 0.35,
) -> UInt8Array:
    """Draws a label map over a thumbnail of the same part of the slide, with a legend at the bottom.

    Args:
        thumbnail: RGB (h, w, 3).
        strips: Strips of the label map, uint8 (H, W) in total, of any size; resized without blending labels.
        classes: `classes[i]` has the label i + 1.
        mpp: Micrometres per thumbnail pixel for the scale bar; None = no scale bar.
        tissue: Tissue mask (any size), outlined in grey.
        title: Text at the start of the legend, such as the slide's name.
        opacity: Opacity of the class colour, 0 to 1.

    Returns:
        RGB (h + legend, w, 3).
    """
    height, width = thumbnail.shape[:2]
    labels = sampled(strips, height, width)
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[1 : len(classes) + 1] = [tissue_class.color for tissue_class in classes]
    is_class = (labels != BACKGROUND) & (labels != IGNORE)
    blended = cv2.addWeighted(colors[labels], opacity, thumbnail, 1 - opacity, 0)
    picture = np.where(is_class[..., None], blended, thumbnail)
    line_px = max(1, round(max(height, width) / 1500))
    if tissue is not None:
        picture[_outline(sampled([tissue.astype(np.uint8)], height, width), line_px)] = _TISSUE_COLOR
    border = _outline(labels, line_px) & is_class
    picture[border] = colors[labels[border]]
    shares = label_counts(strips)[1 : len(classes) + 1]
    return _with_legend(picture, classes, shares / max(1, shares.sum()), title, mpp)


def write_picture(path: Path, rgb: UInt8Array) -> None:
    """Writes an RGB picture in the format given by the file name, such as PNG."""
    with replacing(path) as temporary:
        Image.fromarray(rgb).save(temporary)


def _outline(labels: UInt8Array, line_px: int) -> BoolArray:
    """Pixels within `line_px` of a pixel with another label."""
    kernel = np.ones((2 * line_px + 1, 2 * line_px + 1), dtype=np.uint8)
    edge: BoolArray = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    return edge


def _with_legend(
    picture: UInt8Array,
    classes: Sequence[TissueClass],
    shares: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    title: str,
    mpp: float | None,
) -> UInt8Array:
    height, width = picture.shape[:2]
    size = int(np.clip(width / 55, 12, 40))
    font = ImageFont.load_default(size)
    entries = [(f"{name} {share:.0%}", color) for (name, color), share in zip(classes, shares, strict=True)]
    lines = _wrapped(entries, title, font, size, width)
    bar_height = 0 if mpp is None else 3 * size
    image = Image.new("RGB", (width, height + bar_height + (2 * len(lines) + 1) * size), _PANEL_COLOR)
    image.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        for x, text, color in line:
            top = height + (2 * row + 1) * size
            if color is not None:
                draw.rectangle((x, top, x + size, top + size), fill=color, outline=_INK)
            draw.text((x + (0 if color is None else 1.5 * size), top + size / 2), text, _INK, font, anchor="lm")
    if mpp is not None:
        _draw_scale_bar(draw, mpp, width, image.height - 1.5 * size, font, size)
    return np.asarray(image)


def _wrapped(
    entries: list[tuple[str, tuple[int, int, int]]],
    title: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: int,
    width: int,
) -> list[list[tuple[float, str, tuple[int, int, int] | None]]]:
    """Wraps the title and the entries into lines of (x, text, colour) that fit the width."""
    items: list[tuple[str, tuple[int, int, int] | None]] = [(title, None)] if title else []
    items += entries
    lines: list[list[tuple[float, str, tuple[int, int, int] | None]]] = [[]]
    x = float(size)
    for text, color in items:
        needed = font.getlength(text) + (2.5 if color is None else 4.0) * size
        if lines[-1] and x + needed > width:
            lines.append([])
            x = float(size)
        lines[-1].append((x, text, color))
        x += needed
    return lines


def _draw_scale_bar(
    draw: ImageDraw.ImageDraw,
    mpp: float,
    width: int,
    y: float,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: int,
) -> None:
    length_um = round_length_um(width * mpp / 4)
    x, end = size, size + length_um / mpp
    tick = size / 3
    line_px = max(2, size // 8)
    draw.line((x, y, end, y), _INK, line_px)
    draw.line((x, y - tick, x, y + tick), _INK, line_px)
    draw.line((end, y - tick, end, y + tick), _INK, line_px)
    # `um`: the built-in font has no Greek letters.
    label = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} um"
    draw.text((end + size / 2, y), label, _INK, font, anchor="lm")


def round_length_um(longest_um: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50 ... that is at most `longest_um`."""
    power = 10.0 ** np.floor(np.log10(longest_um))
    return max(float(step * power) for step in _ROUND_LENGTHS if step * power <= longest_um * (1 + 1e-9))
