"""How well outlines agree: pixels near the contours of classes, as counts that add up over images.

Boundary IoU is that of Cheng et al. 2021 (Boundary IoU), with Euclidean distances; the trimap is that of Kohli et al.
2009, around the transitions between two tissue classes. Pixels that are not judged are removed first, and so is true
background under a protocol that leaves it out. Neither makes a contour, since the end of an annotation is not the edge
of a tissue; nor does the edge of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np

from wsi_lpd.evaluation.metrics import confusion, mean_of_scored, or_none, ratio
from wsi_lpd.types import BACKGROUND, IGNORE, BoolArray, Int64Array, UInt8Array

TRIMAP_RADII_PX: Final = (3, 7)
"""Half widths of the trimaps, in pixels of the compared grid; 7 is what the SSHR audits use."""

_WIDTH_OF_DIAGONAL: Final = 0.02
"""Depth of the boundary band as a share of the diagonal, as in Cheng et al.: 6 px for a patch of 224 px."""

_CROSS: Final = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.uint8)


@dataclass(frozen=True)
class BoundaryCounts:
    """Pixels near contours; counts of several images add up.

    Attributes:
        width_px: Least and greatest depth of the bands.
        shared: (2, C) pixels in the band of both maps; row 0 with true background left out, row 1 with it.
        either: (2, C) pixels in the band of one or both.
        bands: (R, C + 1, C + 1) confusion within each of `TRIMAP_RADII_PX` of a transition between true classes.
    """

    width_px: tuple[int, int]
    shared: Int64Array
    either: Int64Array
    bands: Int64Array

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        """The counts of both."""
        widths = (*self.width_px, *other.width_px)
        return BoundaryCounts(
            (min(widths), max(widths)),
            self.shared + other.shared,
            self.either + other.either,
            self.bands + other.bands,
        )


@dataclass(frozen=True)
class BoundaryScores:
    """Scores near contours and away from them, under one protocol; NaN where there is nothing to score.

    Attributes:
        width_px: Least and greatest depth of the boundary bands, over the images.
        iou: (C,) Boundary IoU of each class.
        miou: Its mean over the classes that have a contour.
        trimap: Mean IoU within so many pixels of a transition between two true classes, by radius.
        interior: Mean IoU everywhere else, by radius.
    """

    width_px: tuple[int, int]
    iou: tuple[float, ...]
    miou: float
    trimap: dict[int, float]
    interior: dict[int, float]

    def to_json(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Plain values; a score that does not exist is null."""
        return {
            "width_px": list(self.width_px),
            "boundary_miou": or_none(self.miou),
            "boundary_iou": {name: or_none(iou) for name, iou in zip(classes, self.iou, strict=True)},
            "trimap_miou": {str(radius): or_none(value) for radius, value in self.trimap.items()},
            "interior_miou": {str(radius): or_none(value) for radius, value in self.interior.items()},
        }


def boundary_width(shape: tuple[int, ...]) -> int:
    """Depth of the band in pixels for a map of that shape (h, w): two per cent of the diagonal, at least 1."""
    return max(1, round(_WIDTH_OF_DIAGONAL * math.hypot(shape[0], shape[1])))


def count_boundaries(
    truth: UInt8Array, prediction: UInt8Array, n_classes: int, *, width_px: int | None = None
) -> BoundaryCounts:
    """Counts pixels near contours.

    Args:
        truth: (h, w), 0 background, i + 1 class i, 255 not judged.
        prediction: The same; 255 counts as background.
        n_classes: C.
        width_px: Depth of the bands; None = `boundary_width`.
    """
    width = boundary_width(truth.shape) if width_px is None else width_px
    judged = truth != IGNORE
    tissue = judged & (truth != BACKGROUND)
    shared, either = np.zeros((2, 2, n_classes), dtype=np.int64)
    shared[0], either[0] = _overlaps(truth, prediction, tissue, n_classes, width)
    if np.array_equal(tissue, judged):
        shared[1], either[1] = shared[0], either[0]
    else:
        shared[1], either[1] = _overlaps(truth, prediction, judged, n_classes, width)
    bands = _trimaps(truth, prediction, tissue, n_classes)
    return BoundaryCounts((width, width), shared, either, bands)


def boundary_scores(counts: BoundaryCounts, whole: Int64Array, *, true_background: bool) -> BoundaryScores:
    """The scores of these counts.

    Args:
        counts: Of one image or of many.
        whole: (C + 1, C + 1) confusion of the same images, near contours and far from them.
        true_background: Whether the protocol counts true background.
    """
    row = int(true_background)
    iou = ratio(counts.shared[row], counts.either[row])
    bands = dict(zip(TRIMAP_RADII_PX, counts.bands, strict=True))
    return BoundaryScores(
        width_px=counts.width_px,
        iou=tuple(iou.tolist()),
        miou=mean_of_scored(iou),
        trimap={r: _mean_iou(band, true_background) for r, band in bands.items()},
        interior={r: _mean_iou(whole - band, true_background) for r, band in bands.items()},
    )


def _mean_iou(counts: Int64Array, true_background: bool) -> float:
    counted = counts if true_background else counts[1:]
    hits, truth = counts.diagonal()[1:], counts.sum(axis=1)[1:]
    return mean_of_scored(ratio(hits, truth + counted.sum(axis=0)[1:] - hits))


def _overlaps(
    truth: UInt8Array, prediction: UInt8Array, judged: BoolArray, n_classes: int, width: int
) -> tuple[Int64Array, Int64Array]:
    """Pixels in the bands of both maps, and of either, for each class, (C,) each."""
    counts = np.zeros((2, n_classes), dtype=np.int64)
    for c in range(n_classes):
        box = _around(((truth == c + 1) | (prediction == c + 1)) & judged)
        if box is None:
            continue
        judged_here = judged[box]
        true, predicted = (
            _band((labels[box] == c + 1) & judged_here, judged_here, width) for labels in (truth, prediction)
        )
        counts[:, c] = np.count_nonzero(true & predicted), np.count_nonzero(true | predicted)
    return counts[0], counts[1]


def _around(pixels: BoolArray) -> tuple[slice, slice] | None:
    """The smallest box around `pixels` and their neighbours; None if there are none."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return None
    return slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2)


def _band(of_class: BoolArray, judged: BoolArray, width: int) -> BoolArray:
    """Pixels of the class at most `width` from a judged pixel of another value next to the class."""
    beyond = cv2.dilate(of_class.astype(np.uint8), _CROSS).astype(bool) & judged & ~of_class
    return _within(beyond, width) & of_class


def _within(pixels: BoolArray, distance_px: int) -> BoolArray:
    """Whether a pixel of `pixels` is at most that far away, from centre to centre."""
    if not pixels.any():
        return pixels
    distances = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near: BoolArray = distances < math.sqrt(distance_px**2 + 0.5)  # squared distances are whole numbers
    return near


def _trimaps(truth: UInt8Array, prediction: UInt8Array, tissue: BoolArray, n_classes: int) -> Int64Array:
    """Confusion within each radius of a transition between two true classes, (R, C + 1, C + 1)."""
    sides = np.zeros(truth.shape, dtype=bool)
    for axis in (0, 1):
        here, there = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        differs = (truth[here] != truth[there]) & tissue[here] & tissue[there]
        sides[here] |= differs
        sides[there] |= differs
    bands = []
    for radius in TRIMAP_RADII_PX:
        near = _within(sides, radius - 1)  # pixels at a transition are the first of `radius` on each side
        bands.append(confusion(np.where(near, truth, np.uint8(IGNORE)), prediction, n_classes))
    return np.stack(bands)
