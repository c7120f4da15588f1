"""Confusion matrices as a picture: each row shows what the pixels of a true class were predicted as."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsi_lpd.types import Int64Array, UInt8Array

_FONT_PX: Final = 18
_CELL: Final = (128, 62)
_MARGIN_PX: Final = 24
_PAPER: Final = (250, 250, 250)
_INK: Final = (40, 40, 40)
_PALE, _FULL = (244, 247, 251), (16, 74, 134)
_LIGHT_TEXT_FROM: Final = 0.5
_TITLE_CHARACTERS: Final = 72


def draw_confusion(matrices: Sequence[tuple[str, Int64Array]], names: Sequence[str]) -> UInt8Array:
    """Draws one matrix below the other, coloured by the share of the row.

    Args:
        matrices: Title and counts (N, N), rows truth, columns prediction.
        names: N of them, one for each value.

    Returns:
        RGB (h, w, 3).
    """
    panels = [_panel(title, counts, names) for title, counts in matrices]
    sheet = Image.new("RGB", (max(p.width for p in panels), sum(p.height for p in panels)), _PAPER)
    top = 0
    for panel in panels:
        sheet.paste(panel, (0, top))
        top += panel.height
    return np.asarray(sheet)


def _panel(title: str, counts: Int64Array, names: Sequence[str]) -> Image.Image:
    font, small = ImageFont.load_default(_FONT_PX), ImageFont.load_default(_FONT_PX * 0.75)
    lines = [*textwrap.wrap(title, _TITLE_CHARACTERS), "rows: truth, columns: prediction; share of the row and pixels"]
    left = round(_MARGIN_PX * 1.5 + max(font.getlength(name) for name in names))
    column = round(max(_CELL[0], 12 + max(font.getlength(name) for name in names)))
    top = _MARGIN_PX + round((len(lines) + 1.8) * _FONT_PX * 1.4)
    width = max(left + len(names) * column, *(round(font.getlength(line)) + _MARGIN_PX for line in lines)) + _MARGIN_PX
    panel = Image.new("RGB", (width, top + len(names) * _CELL[1] + _MARGIN_PX), _PAPER)
    draw = ImageDraw.Draw(panel)
    for i, line in enumerate(lines):
        draw.text((_MARGIN_PX, _MARGIN_PX + i * _FONT_PX * 1.4), line, _INK, font)
    for j, name in enumerate(names):
        draw.text((left + (j + 0.5) * column, top - 12), name, _INK, font, anchor="ms")
    for i, row in enumerate(counts):
        y, n_true = top + i * _CELL[1], int(row.sum())
        draw.text((left - 10, y + _CELL[1] / 2), names[i], _INK, font, anchor="rm")
        for j, count in enumerate(row.tolist()):
            share = count / n_true if n_true else 0.0
            x = left + j * column
            draw.rectangle((x, y, x + column - 3, y + _CELL[1] - 3), fill=_shade(share))
            ink = _PAPER if share > _LIGHT_TEXT_FROM else _INK
            text = f"{share:.1%}" if n_true else "-"
            draw.text((x + column / 2 - 1, y + _CELL[1] * 0.36), text, ink, font, anchor="mm")
            draw.text((x + column / 2 - 1, y + _CELL[1] * 0.7), f"{count:,}", ink, small, anchor="mm")
    return panel


def _shade(share: float) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(_PALE, _FULL, strict=True))
    return red, green, blue
