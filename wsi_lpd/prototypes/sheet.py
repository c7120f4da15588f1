"""One overview picture of all prototypes of a model."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsi_lpd.labels.sources import read_patches
from wsi_lpd.overlay.raster.draw import round_length_um
from wsi_lpd.prototypes.draw import (
    HeatRange,
    draw_pair,
    heat_colors,
    heat_range,
    ink_on,
    pair_px,
    shown_px,
    similarity_color,
)
from wsi_lpd.prototypes.findings import ClassFindings, Findings
from wsi_lpd.prototypes.tally import STRONG_SHARE
from wsi_lpd.types import Float64Array, UInt8Array

_INK: Final = (40, 40, 40)
_FAINT: Final = (110, 110, 110)
_LINE: Final = (205, 205, 205)
_PAPER: Final = (255, 255, 255)
_TITLE_PX, _HEAD_PX, _TEXT_PX, _SMALL_PX = 30, 24, 17, 14
_MARGIN: Final = 28
_LABEL_WIDTH: Final = 190
_GAP: Final = 14
_MOST_PATCH_PX: Final = 160
_CELL_PX: Final = 40
_LEAST_WIDTH: Final = 1000
_LEAST_ROW_HEIGHT: Final = 116
_MOST_TEXT_WIDTH: Final = 1500


def draw_sheet(findings: Findings) -> UInt8Array:
    """Draws the prototypes of every class, one per line: usage, strongest patches, and how similar they are.

    Returns:
        RGB (h, w, 3).

    Raises:
        StoreError: If a patch can no longer be read.
        LabelError: The same, for image files.
    """
    return _Sheet(findings).draw()


class _Sheet:
    """Lays everything out from top to bottom; sizes are computed before anything is drawn."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._side = shown_px(findings.patch_px, _MOST_PATCH_PX)
        self._pair = pair_px(self._side)
        n_columns = max((len(e) for c in findings.classes for e in c.figures.examples), default=0)
        n_prototypes = max(c.n_prototypes for c in findings.classes)
        self._matrix_x = _MARGIN + _LABEL_WIDTH + n_columns * (self._pair.width + _GAP) + _GAP
        matrix_width = 0 if n_prototypes == 1 else (n_prototypes + 1) * _CELL_PX
        self._width = max(_LEAST_WIDTH, self._matrix_x + matrix_width + _MARGIN)
        self._row_height = max(self._side, _LEAST_ROW_HEIGHT) + _GAP
        self._intro = [line for sentence in self._explanation() for line in self._lines(sentence)]
        height = self._intro_height() + sum(self._class_height(c) for c in findings.classes) + _MARGIN
        self._image = Image.new("RGB", (self._width, height), _PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def draw(self) -> UInt8Array:
        self._text(_MARGIN, _MARGIN + _TITLE_PX // 2, f"Prototypes of {self._findings.run}", _TITLE_PX)
        y = _MARGIN + 2 * _TITLE_PX
        for line in self._intro:
            self._text(_MARGIN, y, line, _TEXT_PX)
            y += 3 * _TEXT_PX // 2
        self._scale_bar(_MARGIN, y + _TEXT_PX)
        y = self._intro_height()
        for found in self._findings.classes:
            self._class(found, y)
            y += self._class_height(found)
        return np.asarray(self._image)

    def _explanation(self) -> list[str]:
        return [
            f"Sample: {self._findings.describe_patches()}.",
            "Each row is a prototype with the patches it responds to most strongly. Left: the patch, outlined where "
            f"the similarity is among the prototype's strongest {STRONG_SHARE:.0%} in its class. Right: the similarity "
            "as a heat map, from the median (white) to the maximum (dark red) of the row.",
            f"{self._findings.describe_pixels()} Coverage: share of a class's pixels whose best prototype is not the "
            "most used one.",
        ]

    def _intro_height(self) -> int:
        return _MARGIN + 2 * _TITLE_PX + len(self._intro) * (3 * _TEXT_PX // 2) + 3 * _TEXT_PX

    def _class_height(self, found: ClassFindings) -> int:
        if found.figures.n_pixels == 0:
            return self._head_height(found) + 2 * _GAP
        k = found.n_prototypes
        matrices = 0 if k == 1 else 2 * (k * _CELL_PX + 4 * _SMALL_PX)
        return self._head_height(found) + max(k * self._row_height, matrices) + 2 * _GAP

    def _head_height(self, found: ClassFindings) -> int:
        return 3 * _HEAD_PX + len(self._remark(found)) * (3 * _TEXT_PX // 2)

    def _remark(self, found: ClassFindings) -> list[str]:
        remark = found.remark()
        return [] if remark is None else self._lines(remark)

    def _lines(self, text: str) -> list[str]:
        return _wrapped(text, _font(_TEXT_PX), min(self._width, _MOST_TEXT_WIDTH) - 2 * _MARGIN)

    def _class(self, found: ClassFindings, top: int) -> None:
        figures = found.figures
        self._draw.line((_MARGIN, top, self._width - _MARGIN, top), _LINE)
        y = top + _HEAD_PX + _GAP // 2
        box = (_MARGIN, y - _HEAD_PX // 2, _MARGIN + _HEAD_PX, y + _HEAD_PX // 2)
        self._draw.rectangle(box, fill=found.tissue.color, outline=_INK)
        x = self._text(_MARGIN + 3 * _HEAD_PX // 2, y, found.tissue.name, _HEAD_PX)
        for i, line in enumerate(self._remark(found)):
            self._text(_MARGIN, top + 3 * _HEAD_PX + i * (3 * _TEXT_PX // 2) - _GAP // 2, line, _TEXT_PX)
        if figures.n_pixels == 0:
            return
        numbers = f"{figures.n_pixels:,} pixels in {figures.n_patches:,} patches"
        if found.n_prototypes > 1:
            numbers += f"; coverage {figures.coverage:.0%}"
        self._text(x + _HEAD_PX, y, numbers, _TEXT_PX, _FAINT)
        top += self._head_height(found)
        for k in range(found.n_prototypes):
            self._prototype(found, k, top + k * self._row_height)
        if found.n_prototypes > 1:
            self._matrix("Correlation of their maps", figures.correlation, top)
            below = top + found.n_prototypes * _CELL_PX + 4 * _SMALL_PX
            self._matrix("Cosine of the vectors, mean of scales", found.cosines.mean(axis=0), below)

    def _prototype(self, found: ClassFindings, k: int, top: int) -> None:
        usage = found.figures.usage
        assert usage is not None
        self._text(_MARGIN, top + _TEXT_PX, f"Prototype {k + 1}", _TEXT_PX)
        bar = (_MARGIN, top + 2 * _TEXT_PX, _MARGIN + _LABEL_WIDTH - 2 * _GAP, top + 2 * _TEXT_PX + 10)
        self._draw.rectangle(bar, outline=_LINE)
        filled = round((bar[2] - bar[0]) * float(usage[k]))
        if filled > 0:
            self._draw.rectangle((bar[0], bar[1], bar[0] + filled, bar[3]), fill=found.tissue.color)
        self._text(_MARGIN, top + 3.5 * _TEXT_PX, f"best for {usage[k]:.0%} of pixels", _SMALL_PX, _FAINT)
        closest = found.closest(k)
        if closest is not None:
            most_like = f"most like {closest[0] + 1} (r = {closest[1]:.2f})"
            self._text(_MARGIN, top + 4.7 * _TEXT_PX, most_like, _SMALL_PX, _FAINT)
        examples = found.figures.examples[k]
        heat = heat_range(examples)
        self._heat_bar(_MARGIN, top + 6.2 * _TEXT_PX, heat)
        patches = read_patches(self._findings.table, [e.row for e in examples])
        for i, (example, patch) in enumerate(zip(examples, patches, strict=True)):
            strong = float(found.figures.strong[k])
            pair = draw_pair(patch, example.similarity, side_px=self._side, strong=strong, heat=heat)
            x = _MARGIN + _LABEL_WIDTH + i * (self._pair.width + _GAP)
            self._image.paste(Image.fromarray(pair), (x, top))
            self._draw.rectangle((x - 1, top - 1, x + self._pair.width, top + self._side), outline=_LINE)

    def _matrix(self, title: str, values: Float64Array, top: int) -> None:
        """A table of pairs with a grey diagonal."""
        n = len(values)
        self._text(self._matrix_x, top + _SMALL_PX // 2, title, _SMALL_PX, _INK)
        left, y0 = self._matrix_x + _CELL_PX // 2, top + 5 * _SMALL_PX // 2
        for i in range(n):
            self._text(left - 6, y0 + (i + 0.5) * _CELL_PX, str(i + 1), _SMALL_PX, _FAINT, anchor="rm")
            self._text(left + (i + 0.5) * _CELL_PX, y0 - 8, str(i + 1), _SMALL_PX, _FAINT, anchor="mm")
            for j in range(n):
                x, y = left + j * _CELL_PX, y0 + i * _CELL_PX
                is_defined = i != j and not np.isnan(values[i, j])
                color = similarity_color(float(values[i, j])) if is_defined else (235, 235, 235)
                self._draw.rectangle((x, y, x + _CELL_PX - 2, y + _CELL_PX - 2), fill=color)
                if is_defined:
                    middle = (x + _CELL_PX / 2 - 1, y + _CELL_PX / 2 - 1)
                    self._text(*middle, f"{values[i, j]:.2f}", _SMALL_PX - 1, ink_on(color), anchor="mm")

    def _heat_bar(self, x: float, y: float, heat: HeatRange) -> None:
        left = self._text(x, y, f"{heat.low:.2f}", _SMALL_PX, _FAINT) + 8
        colors = heat_colors(np.linspace(0, 1, _LABEL_WIDTH // 2 - _GAP, dtype=np.float32))
        bar = np.broadcast_to(colors.round().astype(np.uint8), (14, len(colors), 3))
        self._image.paste(Image.fromarray(np.ascontiguousarray(bar)), (round(left), round(y) - 7))
        self._draw.rectangle((round(left) - 1, round(y) - 8, round(left) + len(colors), round(y) + 7), outline=_LINE)
        self._text(left + len(colors) + 8, y, f"{heat.high:.2f}", _SMALL_PX, _FAINT)

    def _scale_bar(self, x: float, y: float) -> None:
        length_um = round_length_um(self._findings.patch_um / 2)
        length_px = length_um / self._findings.patch_um * self._side
        self._draw.line((x, y, x + length_px, y), _INK, 3)
        for end in (x, x + length_px):
            self._draw.line((end, y - 6, end, y + 6), _INK, 3)
        self._text(x + length_px + 10, y, f"{length_um:g} um in the patches below", _SMALL_PX)

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        color: tuple[int, int, int] = _INK,
        *,
        anchor: str = "lm",
    ) -> float:
        """Writes a line and returns where it ends."""
        font = _font(size)
        self._draw.text((x, y), text, color, font, anchor=anchor)
        return x + font.getlength(text)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
