"""Patches and masks that are image files."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ImageOps

from wsi_lpd.errors import ImageError, LabelError
from wsi_lpd.images.decode import opened_image, picture_size, read_rgb
from wsi_lpd.images.resize import resize
from wsi_lpd.types import Size, UInt8Array

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def image_size(path: Path) -> Size:
    """Width and height from the header of an image file.

    Raises:
        LabelError: If the file is missing or no image.
    """
    try:
        return picture_size(path)
    except ImageError as err:
        raise LabelError(f"{path}: {err}") from err


def common_side(sizes: Sequence[Size], name: str) -> int:
    """The side in pixels that all images of a source are brought to when they are read.

    It is their own where they agree. Data sets of mixed sizes (WSSS4LUAD: 150 to 300 px) are scaled, as those who
    published on them do, to the nearest multiple of 32 of their middle size, and a warning says so.
    """
    kinds = set(sizes)
    first = sizes[0]
    if len(kinds) == 1 and first.width == first.height:
        return first.width
    middle = float(np.median([math.sqrt(size.width * size.height) for size in sizes]))
    side = max(32, round(middle / 32) * 32)
    low, high = min(kinds, key=math.prod), max(kinds, key=math.prod)
    logger.warning(
        "%s: its images are not all of one square size (%dx%d to %dx%d px); each is scaled to %dx%d px",
        name, low.width, low.height, high.width, high.height, side, side,
    )  # fmt: skip
    return side


def read_image(path: Path, side: int) -> UInt8Array:
    """An image file as RGB (side, side, 3), scaled if it is of another size.

    Raises:
        LabelError: If it cannot be read.
    """
    try:
        image = read_rgb(path)
    except ImageError as err:
        raise LabelError(f"{path}: {err}") from err
    return resize(image, Size(side, side))


def read_index_mask(path: Path) -> UInt8Array:
    """The values of a mask file, (H, W): palette indices as they are stored, never their colours.

    Raises:
        LabelError: If it cannot be read, or holds colours instead of indices.
    """
    try:
        with opened_image(path) as opened:
            if opened.mode not in ("P", "L", "1"):
                raise LabelError(
                    f"{path}: is a mask in colours ({opened.mode}); expected a palette or grey image of indices"
                )
            return np.array(ImageOps.exif_transpose(opened), dtype=np.uint8)
    except ImageError as err:
        raise LabelError(f"{path}: {err}") from err
