"""A model looks at one image of tissue, such as a patch of a data set: maps come out, and no label goes in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wsi_lpd.config import SegmentConfig
from wsi_lpd.segment.predictor import Predictor
from wsi_lpd.segment.segmenter import predicted_rows, stitched_rows
from wsi_lpd.segment.windows import WindowGrid, stride_for
from wsi_lpd.types import Float32Array, UInt8Array


@dataclass(frozen=True)
class ImageMaps:
    """What a model says of an image, at the image's own pixels.

    Attributes:
        logits: (C + 1, H, W), the background's first.
        presence: (C, H, W), calibrated probability that the class occurs nearby.
    """

    logits: Float32Array
    presence: Float32Array

    @property
    def image_presence(self) -> Float32Array:
        """(C,) probability that a class occurs in the image: where it is likeliest."""
        highest: Float32Array = self.presence.max(axis=(1, 2))
        return highest


def look_at_image(pixels: UInt8Array, predictor: Predictor, config: SegmentConfig) -> ImageMaps:
    """Looks at an image in overlapping windows and stitches what the network says.

    An image no larger than a training patch is looked at as one patch, a larger one in the windows that suit the
    model. Windows that reach past the image are filled by mirroring it.

    Args:
        pixels: RGB (H, W, 3) at the model's mpp.
        predictor: The model.
        config: Overlap, windows per forward pass, views, refinement; and the window's side, if it is not to be chosen.
    """
    height, width = pixels.shape[:2]
    side = _window_px(height, width, predictor) if config.window_px is None else config.window_px
    step = stride_for(side, config.overlap, cell_px=predictor.cell_px)
    grid = WindowGrid(width_px=width, height_px=height, window_px=side, stride_px=step, scale=1.0)
    looked = predicted_rows(_windows(pixels, grid), predictor, config, stride=1, advance=lambda n: None)
    n_classes = len(predictor.card.classes)
    rows = list(stitched_rows(looked, grid, stride=1, n_classes=n_classes, width=width))
    return ImageMaps(
        np.concatenate([part.logits for part in rows], axis=1)[:, :height],
        np.concatenate([part.presence for part in rows], axis=1)[:, :height],
    )


def _window_px(height: int, width: int, predictor: Predictor) -> int:
    patch_px: int = predictor.card.patch_px
    return patch_px if max(height, width) <= patch_px else predictor.window_px


def _windows(pixels: UInt8Array, grid: WindowGrid) -> Iterator[tuple[int, list[int], UInt8Array]]:
    """(top, left edges, windows (n, S, S, 3)) of each row of windows, the image mirrored past its edges."""
    side = grid.window_px
    bottom = grid.rows[-1] + side - grid.height_px
    right = grid.columns[-1] + side - grid.width_px
    whole = np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="symmetric")
    for top in grid.rows:
        yield top, grid.columns, np.stack([whole[top : top + side, x : x + side] for x in grid.columns])
