"""The tissue mask of a slide: found on its thumbnail, or given in a file; and how much tissue a box holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from wsi_lpd.config import TissueConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.slide.slide import Slide
from wsi_lpd.slide.tissue.detect import looks_like_fluorescence, tissue_from_thumbnail
from wsi_lpd.slide.tissue.manual_mask import read_manual_mask
from wsi_lpd.types import AnyArray, BoolArray, Box, Float32Array, Float64Array, Int64Array, Size

_NO_MPP_SIDE_PX = 1024
"""Longer side of the thumbnail of a slide whose resolution nobody knows."""

_LARGEST_SIDE_PX = 8192
"""No thumbnail is larger, however fine `mpp` is asked: tissue detection shall not need gigabytes."""


class NotBrightFieldError(SlideError):
    """A slide is bright on dark; what is stained cannot be told by the light it takes away."""


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Where a slide has tissue.

    Attributes:
        mask: (H, W), True on tissue; it covers the whole slide.
        downsample_x: Level-0 pixels per mask pixel along x.
        downsample_y: The same along y.
    """

    mask: BoolArray
    downsample_x: float
    downsample_y: float

    @property
    def share(self) -> float:
        """Share of the slide that is tissue."""
        return float(self.mask.mean())

    @property
    def area_px(self) -> float:
        """Tissue area in level-0 pixels."""
        return float(self.mask.sum()) * self.downsample_x * self.downsample_y

    def widened(self, margin_px: float) -> TissueMask:
        """With all that is not farther than `margin_px` (level-0 pixels) from tissue, to the nearest mask pixel."""
        reach_x, reach_y = round(margin_px / self.downsample_x), round(margin_px / self.downsample_y)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach_x + 1, 2 * reach_y + 1))
        wide = cv2.dilate(self.mask.view(np.uint8), disc).view(bool)
        return TissueMask(wide, self.downsample_x, self.downsample_y)

    def fraction(self, box: Box) -> float:
        """Share of `box` (level-0 pixels) that is tissue; what lies outside the slide is not."""
        return float(self.fractions(np.array([box], np.int64))[0])

    def fractions(self, boxes: Int64Array) -> Float32Array:
        """The same for many boxes.

        Args:
            boxes: x, y, width, height in level-0 pixels, (N, 4).

        Returns:
            (N,), exact up to the pixels of the mask: a pixel that is covered partly counts partly.
        """
        if len(boxes) == 0:
            return np.zeros(0, np.float32)
        x, y, width, height = boxes.astype(np.float64).T
        left, right = x / self.downsample_x, (x + width) / self.downsample_x
        top, bottom = y / self.downsample_y, (y + height) / self.downsample_y
        # Of the rows in question only, and not kept: the sums take four times as much memory as the mask.
        n_rows = len(self.mask)
        first = min(max(math.floor(top.min()), 0), n_rows - 1)
        last = max(min(math.ceil(bottom.max()), n_rows), first + 1)
        sums = _sums(self.mask[first:last])
        top, bottom = top - first, bottom - first
        covered = _before(sums, right, bottom) - _before(sums, left, bottom)
        covered -= _before(sums, right, top) - _before(sums, left, top)
        fractions: Float32Array = np.clip(covered / ((right - left) * (bottom - top)), 0, 1).astype(np.float32)
        return fractions


def _sums(mask: BoolArray) -> AnyArray:
    """Number of tissue pixels above and left of every pixel corner, (H + 1, W + 1)."""
    height, width = mask.shape
    sums = np.zeros((height + 1, width + 1), np.int32)
    np.cumsum(mask, axis=0, dtype=np.int32, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _before(sums: AnyArray, x: Float64Array, y: Float64Array) -> Float64Array:
    """Tissue area, in mask pixels, above and left of points (mask pixels, fractions allowed); each (N,)."""
    x, y = np.clip(x, 0, sums.shape[1] - 1), np.clip(y, 0, sums.shape[0] - 1)
    column = np.minimum(x.astype(np.int64), sums.shape[1] - 2)
    row = np.minimum(y.astype(np.int64), sums.shape[0] - 2)
    # Within one mask pixel the sum grows in proportion to x and to y, so bilinear interpolation is exact.
    right, down = x - column, y - row
    upper = sums[row, column] * (1 - right) + sums[row, column + 1] * right
    lower = sums[row + 1, column] * (1 - right) + sums[row + 1, column + 1] * right
    before: Float64Array = upper * (1 - down) + lower * down
    return before


def find_tissue(slide: Slide, config: TissueConfig) -> TissueMask:
    """Where the slide has tissue, by the file `config.mask` or by looking.

    Raises:
        NotBrightFieldError: If the slide is dark like fluorescence.
        SlideError: If the slide cannot be read, or the mask file cannot be used.
    """
    size = thumbnail_size(slide, config)
    downsample_x, downsample_y = slide.size_px.width / size.width, slide.size_px.height / size.height
    if config.mask is not None:
        return TissueMask(read_manual_mask(config.mask, slide, size), downsample_x, downsample_y)
    rgb = slide.overview(size)
    if config.preset != "everything" and looks_like_fluorescence(rgb):
        raise NotBrightFieldError(
            f"{slide.location}: is bright on dark, like fluorescence or a label image, not a bright-field slide. "
            "Give a mask (tissue.mask), or take the whole slide (tissue.preset=everything)"
        )
    mpp = None if slide.resolution is None else slide.resolution.mpp * downsample_x
    return TissueMask(tissue_from_thumbnail(rgb, mpp=mpp, config=config), downsample_x, downsample_y)


def thumbnail_size(slide: Slide, config: TissueConfig) -> Size:
    """Size of the thumbnail that tissue is looked for on; never larger than the slide."""
    longer = max(slide.size_px)
    if slide.resolution is None:
        side = _NO_MPP_SIDE_PX
    else:
        side = min(_LARGEST_SIDE_PX, round(longer * slide.resolution.mpp / config.mpp))
    scale = min(1.0, max(side, 1) / longer)
    return Size(max(1, round(slide.size_px.width * scale)), max(1, round(slide.size_px.height * scale)))
