"""The position and scale of a label map on the slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsi_lpd.types import AnyArray, Int64Array


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
    """

    downsample_x: float
    downsample_y: float
    offset_x: int = 0
    offset_y: int = 0

    def __post_init__(self) -> None:
        if not (self.downsample_x >= 1 and self.downsample_y >= 1):
            raise ValueError(f"downsample must be >= 1, got {self.downsample_x}, {self.downsample_y}")

    def to_level0(self, corners: AnyArray) -> Int64Array:
        """Maps grid corners (N, 2), x y, to level-0 pixels of the overlay."""
        scaled = np.floor(np.asarray(corners, dtype=np.float64) * (self.downsample_x, self.downsample_y) + 0.5)
        return scaled.astype(np.int64) - np.array((self.offset_x, self.offset_y), dtype=np.int64)

    def to_grid(self, positions: AnyArray) -> AnyArray:
        """Maps level-0 positions of the overlay (N, 2) to the label-map grid; the result is fractional."""
        shifted = np.asarray(positions, dtype=np.float64) + np.array((self.offset_x, self.offset_y))
        result: AnyArray = shifted / (self.downsample_x, self.downsample_y)
        return result
