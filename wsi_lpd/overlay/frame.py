"""The position and scale of a label map on the slide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wsi_lpd.types import AnyArray, Float64Array, Int64Array


@dataclass(frozen=True)
class GridFrame:
    """Maps the pixel corners of a label map to the level-0 frame of an overlay.

    Corner i is mapped to round(i * downsample) - offset, an integer, which QuPath keeps exactly. A corner shared by two
    regions has one image, so borders stay shared; and since no two corners coincide (downsample >= 1), pixel-edge
    polygons stay valid.

    Attributes:
        downsample_x: Level-0 pixels per label-map pixel; may be any number >= 1, such as slide width / map width.
        downsample_y: The same for y.
        offset_x: Subtracted, level-0 pixels: bounds-x of a slide whose bounds QuPath crops to, else 0. The label map
            itself begins at the slide's level-0 corner.
        offset_y: The same for y.
        limit_x: Width of the slide, level-0 pixels: the last column of the map may reach past it, outlines must not.
            It has to be more than half a level-0 pixel wide on the slide (see `n_cells`), so that no two corners meet.
        limit_y: Height of the slide.
    """

    downsample_x: float
    downsample_y: float
    offset_x: int = 0
    offset_y: int = 0
    limit_x: int | None = None
    limit_y: int | None = None

    def __post_init__(self) -> None:
        if not (self.downsample_x >= 1 and self.downsample_y >= 1):
            raise ValueError(f"downsample must be >= 1, got {self.downsample_x}, {self.downsample_y}")

    def to_level0(self, corners: AnyArray) -> Int64Array:
        """Maps grid corners (N, 2), x y, to level-0 pixels of the overlay."""
        scaled = np.floor(np.asarray(corners, dtype=np.float64) * (self.downsample_x, self.downsample_y) + 0.5)
        clipped = np.minimum(scaled, self._limits)
        return clipped.astype(np.int64) - np.array((self.offset_x, self.offset_y), dtype=np.int64)

    def to_grid(self, positions: AnyArray) -> AnyArray:
        """Moves level-0 positions of the overlay (N, 2) to the label-map grid; the result is fractional.

        The edge of the slide is the map's last corner, though that may lie beyond it.
        """
        shifted = np.asarray(positions, dtype=np.float64) + np.array((self.offset_x, self.offset_y))
        downsample = np.array((self.downsample_x, self.downsample_y))
        last = np.ceil((self._limits - 0.5) / downsample)
        result: AnyArray = np.where(shifted >= self._limits, last, shifted / downsample)
        return result

    @property
    def _limits(self) -> Float64Array:
        return np.array([np.inf if limit is None else limit for limit in (self.limit_x, self.limit_y)])


def n_cells(length_px: int, downsample: float) -> int:
    """Map pixels that cover a slide of `length_px`: a last one of which half a level-0 pixel shows is left out."""
    return max(1, math.ceil((length_px - 0.5) / downsample))
