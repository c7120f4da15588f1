"""One picture of some patches with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from wsi_lpd.classes import TissueClass
from wsi_lpd.files import replacing
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.types import BACKGROUND, IGNORE, UInt8Array

_COLUMNS: Final = 8
_EXAMPLES: Final = 32
_LEAST_SIDE_PX: Final = 128
_GAP_PX: Final = 8
_LEGEND_PX: Final = 28
_IGNORED: Final = (255, 230, 0)
_GLASS: Final = (255, 255, 255)
_SEED: Final = 0


def choose_examples(table: LabelTable) -> list[int]:
    """Rows to show, in turn from each combination of labels, so that rare ones appear; fixed for a table."""
    order = np.random.default_rng(_SEED).permutation(len(table))
    _, kind = np.unique(table.labels[order], axis=0, return_inverse=True)
    turn = np.zeros(len(order), np.int64)
    for k in np.unique(kind):
        turn[kind == k] = np.arange((kind == k).sum())
    chosen: list[int] = order[np.argsort(turn, kind="stable")][:_EXAMPLES].tolist()
    return chosen


def draw_masks(patches: UInt8Array, masks: UInt8Array, classes: Sequence[TissueClass]) -> UInt8Array:
    """Every patch above its first mask, side by side, with a legend at the bottom.

    Args:
        patches: RGB, (n, S, S, 3).
        masks: (n, M + 1, S, S).
        classes: `classes[i]` has the value i + 1.

    Returns:
        RGB (h, w, 3).
    """
    colors = np.zeros((256, 3), np.uint8)
    colors[BACKGROUND], colors[IGNORE] = _GLASS, _IGNORED
    colors[1 : len(classes) + 1] = [tissue.color for tissue in classes]
    factor = -(-_LEAST_SIDE_PX // patches.shape[1])
    side = patches.shape[1] * factor
    rows = -(-len(patches) // _COLUMNS)
    width = _COLUMNS * (side + _GAP_PX) + _GAP_PX
    picture = np.full((rows * (2 * side + 2 * _GAP_PX) + _GAP_PX + _LEGEND_PX, width, 3), 235, np.uint8)
    for i, (patch, mask) in enumerate(zip(patches, colors[masks[:, 0]], strict=True)):
        y = _GAP_PX + i // _COLUMNS * (2 * side + 2 * _GAP_PX)
        x = _GAP_PX + i % _COLUMNS * (side + _GAP_PX)
        for k, shown in enumerate((patch, mask)):
            picture[y + k * side :, x:][:side, :side] = shown.repeat(factor, 0).repeat(factor, 1)
    names = ["background", *(tissue.name for tissue in classes), "ignored"]
    _write_legend(picture, names, [_GLASS, *(tissue.color for tissue in classes), _IGNORED])
    return picture


def write_png(path: Path, picture: UInt8Array) -> None:
    """Writes RGB (h, w, 3)."""
    _, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    with replacing(path) as temporary:
        temporary.write_bytes(png.tobytes())


def _write_legend(picture: UInt8Array, names: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> None:
    x, y = _GAP_PX, picture.shape[0] - _LEGEND_PX
    for name, color in zip(names, colors, strict=True):
        cv2.rectangle(picture, (x, y + 4), (x + 18, y + 20), color, cv2.FILLED)
        cv2.rectangle(picture, (x, y + 4), (x + 18, y + 20), (120, 120, 120), 1)
        cv2.putText(picture, name, (x + 24, y + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
        x += 36 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
