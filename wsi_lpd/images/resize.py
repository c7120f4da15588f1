"""Resampling a picture to another size."""

from __future__ import annotations

import cv2
import numpy as np

from wsi_lpd.types import Size, UInt8Array


def resize(image: UInt8Array, size_px: Size) -> UInt8Array:
    """Averages over areas where the image shrinks; interpolates where it grows along either axis."""
    height, width = image.shape[:2]
    if (width, height) == size_px:
        return image
    shrinks = width >= size_px.width and height >= size_px.height
    resized = cv2.resize(image, size_px, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)  # it is uint8 already; OpenCV's stubs do not say so
