"""An image file as RGB: the one reader of pictures, for slides without a pyramid, patches and data sets alike.

TIFFs go through tifffile, all else through Pillow. Transparent pixels are white, a turned picture (EXIF) is upright, 16
bits become 8 over their whole range; what cannot be RGB (CMYK, Lab, floating point) is refused by its name.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from wsi_lpd.errors import ImageError, one_line
from wsi_lpd.images.coding import coding_of, composited, eight_bits
from wsi_lpd.types import AnyArray, Size, UInt8Array

# tifffile logs what it stumbles over in damaged files and then raises; the error that we make of it is enough.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

TIFF_STARTS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
_DEEP_MODES: Final = ("I;16", "I;16B", "I;16L", "I")
"""Pillow's names of 16-bit grey; a PNG of 16 bits was `I` before Pillow 11."""
_ORIENTATION: Final = 274
_WHITE: Final = (255, 255, 255)

DAMAGE: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
)
"""What Pillow, tifffile and imagecodecs raise on damaged files, found by cutting and flipping bytes of real ones."""


def read_rgb(path: str | Path) -> UInt8Array:
    """The picture in a file, upright, (H, W, 3); of a TIFF its first page.

    Raises:
        ImageError: If there is none, it is damaged, or cannot be RGB. The message does not name the file.
    """
    if is_tiff(path):
        with opened_tiff(path) as tiff:
            return _page_rgb(tiff.pages.first)
    with opened_image(path) as image:
        return _pillow_rgb(image)


def picture_size(path: str | Path) -> Size:
    """Width and height of the picture that `read_rgb` gives, from the file's header.

    Raises:
        ImageError: See `read_rgb`.
    """
    if is_tiff(path):
        with opened_tiff(path) as tiff:
            page = tiff.pages.first
            return _turned(Size(page.imagewidth, page.imagelength), _orientation_of(page))
    with opened_image(path) as image:
        return _turned(Size(*image.size), image.getexif().get(_ORIENTATION, 1))


def is_tiff(path: str | Path) -> bool:
    """Whether a file begins as a TIFF does.

    Raises:
        ImageError: If it cannot be opened.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(4).startswith(TIFF_STARTS)
    except FileNotFoundError as err:
        raise ImageError("no such image") from err
    except OSError as err:
        raise ImageError(f"cannot be opened ({err.strerror or err})") from err


@contextmanager
def opened_image(path: str | Path) -> Iterator[Image.Image]:
    """An image for Pillow, whatever its size.

    Raises:
        ImageError: If it is none or damaged; of what is raised inside, too.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns at 90 Mpx and refuses at 180; the warning is about web uploads.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                yield image
    except UnidentifiedImageError as err:
        raise ImageError("is no image that Pillow knows") from err
    except Image.DecompressionBombError as err:
        raise ImageError(f"{err}; save it as a tiled pyramidal TIFF") from err
    except DAMAGE as err:
        raise ImageError(f"is a damaged image ({one_line(err)})") from err


@contextmanager
def opened_tiff(path: Any) -> Iterator[tifffile.TiffFile]:
    """A TIFF (a path, or a file object) for tifffile; errors as of `opened_image`."""
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    except DAMAGE as err:
        raise ImageError(f"is a damaged TIFF ({one_line(err)})") from err


def _page_rgb(page: Any) -> UInt8Array:
    coding = coding_of(page)
    pixels: AnyArray = page.asarray()
    if page.samplesperpixel > 1 and page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    return _upright(coding.rgb(pixels), _orientation_of(page))


def _pillow_rgb(image: Image.Image) -> UInt8Array:
    if image.mode in _DEEP_MODES:
        deep = np.asarray(ImageOps.exif_transpose(image))
        if deep.min() < 0 or deep.max() > 65535:
            raise ImageError("holds grey values of 32 bits, expected 8 or 16; export it as 8-bit RGB")
        return np.repeat(eight_bits(deep.astype(np.uint16))[..., None], 3, axis=2)
    if image.mode not in _MODES:
        name = {"CMYK": "CMYK inks", "F": "floating-point samples", "LAB": "CIELAB"}.get(image.mode, image.mode)
        raise ImageError(f"holds {name}, expected RGB, grey or a palette; export it as 8-bit RGB")
    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return np.array(upright.convert("RGB"))
    rgba = np.asarray(upright.convert("RGBA"))
    return composited(rgba[..., :3], rgba[..., 3], _WHITE)


def _orientation_of(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None else 1


def _turned(size: Size, orientation: int) -> Size:
    return Size(size.height, size.width) if orientation in (5, 6, 7, 8) else size


def _upright(pixels: UInt8Array, orientation: int) -> UInt8Array:
    """Rows from top to bottom, columns from left to right (TIFF 6.0, Orientation)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
