"""Where windows lie: pure arithmetic in model pixels (pixels at the model's mpp, counted from the slide's corner)."""

from __future__ import annotations

from dataclasses import dataclass

from wsi_lpd.types import Box

_STEP_PX = 16


@dataclass(frozen=True)
class WindowGrid:
    """Square windows in rows that cover the whole slide; the last of a row or column may reach past its edge.

    Frame: model pixels; `scale` level-0 pixels are one model pixel.
    """

    width_px: int
    height_px: int
    window_px: int
    stride_px: int
    scale: float
    offset_px: int = 0

    @property
    def columns(self) -> list[int]:
        """Left edges of the windows of a row, ascending."""
        return _starts(self.width_px, self.window_px, self.stride_px, self.offset_px)

    @property
    def rows(self) -> list[int]:
        """Top edges of the rows, ascending."""
        return _starts(self.height_px, self.window_px, self.stride_px, self.offset_px)

    def to_level0(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Box:
        """The level-0 box of a rectangle of model pixels; neighbours share their rounded edge."""
        x0, y0 = round(x_px * self.scale), round(y_px * self.scale)
        x1, y1 = round((x_px + width_px) * self.scale), round((y_px + height_px) * self.scale)
        return Box(x0, y0, x1 - x0, y1 - y0)


def stride_for(window_px: int, overlap: float) -> int:
    """Step between windows for a share of overlap, rounded to the grid that the encoder's positions lie on.

    With a step that is a multiple of `_STEP_PX` the same tissue falls on the same position of the feature map in every
    window that sees it, and windows agree far better.
    """
    return max(_STEP_PX, round(window_px * (1 - overlap) / _STEP_PX) * _STEP_PX)


def _starts(length_px: int, window_px: int, stride_px: int, offset_px: int) -> list[int]:
    count = -(-max(length_px + offset_px - window_px, 0) // stride_px) + 1
    return [i * stride_px - offset_px for i in range(count)]
