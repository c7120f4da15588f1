"""The tissue mask of a slide, detected on its thumbnail or read from a file, and the tissue fraction of boxes."""

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
"""Longer side of the thumbnail of a slide with unknown resolution."""

_LARGEST_SIDE_PX = 8192
"""Maximum side of a thumbnail at any `mpp`, so that tissue detection never needs gigabytes."""


class NotBrightFieldError(SlideError):
    """The slide is bright on dark; tissue cannot be detected by the light that stains absorb."""


@dataclass(frozen=True, eq=False)
class TissueMask:
    """The tissue of a slide.

    Attributes:
        mask: (H, W), True on tissue; covers the whole slide.
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
        """The mask dilated by `margin_px` (level-0 pixels), rounded to mask pixels."""
        reach_x, reach_y = round(margin_px / self.downsample_x), round(margin_px / self.downsample_y)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach_x + 1, 2 * reach_y + 1))
        wide = cv2.dilate(self.mask.view(np.uint8), disc).view(bool)
        return TissueMask(wide, self.downsample_x, self.downsample_y)

    def fraction(self, box: Box) -> float:
        """Tissue fraction of `box` (level-0 pixels); the area outside the slide counts as no tissue."""
        return float(self.fractions(np.array([box], np.int64))[0])

    def fractions(self, boxes: Int64Array) -> Float32Array:
        """The same for many boxes.

        Args:
            boxes: x, y, width, height in level-0 pixels, (N, 4).

        Returns:
            (N,), exact at the resolution of the mask: a mask pixel that is partly covered counts partly.
        """
        if len(boxes) == 0:
            return np.zeros(0, np.float32)
        x, y, width, height = boxes.astype(np.float64).T
        left, right = x / self.downsample_x, (x + width) / self.downsample_x
        top, bottom = y / self.downsample_y, (y + height) / self.downsample_y
        # Only for the rows in question, and not kept: the sums take four times as much memory as the mask.
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
    """Number of tissue pixels above and to the left of every pixel corner, (H + 1, W + 1)."""
    height, width = mask.shape
    sums = np.zeros((height + 1, width + 1), np.int32)
    np.cumsum(mask, axis=0, dtype=np.int32, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _before(sums: AnyArray, x: Float64Array, y: Float64Array) -> Float64Array:
    """Tissue area, in mask pixels, above and to the left of points (mask pixels, fractions allowed); each (N,)."""
    x, y = np.clip(x, 0, sums.shape[1] - 1), np.clip(y, 0, sums.shape[0] - 1)
    column = np.minimum(x.astype(np.int64), sums.shape[1] - 2)
    row = np.minimum(y.astype(np.int64), sums.shape[0] - 2)
    # Within one mask pixel the sum is linear in x and in y, so bilinear interpolation is exact.
    right, down = x - column, y - row
    upper = sums[row, column] * (1 - right) + sums[row, column + 1] * right
    lower = sums[row + 1, column] * (1 - right) + sums[row + 1, column + 1] * right
    before: Float64Array = upper * (1 - down) + lower * down
    return before


def find_tissue(slide: Slide, config: TissueConfig) -> TissueMask:
    """The tissue mask of a slide, read from `config.mask` if given, else detected.

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
            f"{slide.location}: is bright on dark, like fluorescence or a label image; expected a bright-field slide; "
            "pass --tissue-mask, or take the whole slide (--set tile.tissue.preset=everything; in segment, --set "
            "segment.tissue.preset=everything)"
        )
    mpp = None if slide.resolution is None else slide.resolution.mpp * downsample_x
    return TissueMask(tissue_from_thumbnail(rgb, mpp=mpp, config=config), downsample_x, downsample_y)


def thumbnail_size(slide: Slide, config: TissueConfig) -> Size:
    """Size of the thumbnail used for tissue detection; never larger than the slide."""
    longer = max(slide.size_px)
    if slide.resolution is None:
        side = _NO_MPP_SIDE_PX
    else:
        side = min(_LARGEST_SIDE_PX, round(longer * slide.resolution.mpp / config.mpp))
    scale = min(1.0, max(side, 1) / longer)
    return Size(max(1, round(slide.size_px.width * scale)), max(1, round(slide.size_px.height * scale)))
