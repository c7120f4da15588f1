"""Plain images (PNG, JPEG, BMP, untiled TIFF) as slides of one level, held in memory."""

from __future__ import annotations

import functools
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from wsi_lpd.errors import SlideError
from wsi_lpd.slide.readers.reader import PerProcess, levels_of
from wsi_lpd.types import UInt8Array

_WHITE = (255, 255, 255)
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Pillow's names of the 8-bit modes; I;16 and F have no defined black and white."""


_TIFF_TAGS = {270: "ImageDescription", 282: "XResolution", 283: "YResolution"}
_RESOLUTION_UNITS = {1: "none", 2: "inch", 3: "centimeter"}
_TAG_RESOLUTION_UNIT, _TAG_TILE_WIDTH = 296, 322

_LARGEST_TIFF_PX = 2**27
"""An untiled TIFF of up to this size (400 MB as RGB) is held in memory; TiffSlide would decode whole strips, or the
whole file, for every region."""

_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    struct.error,
)
"""Exceptions that Pillow raises on damaged files, found by truncating real files and flipping their bytes."""


class ImageReader:
    """An image without a pyramid, such as a region of interest cut from a slide."""

    name = "image"

    def __init__(self, location: str) -> None:
        self.location = location
        self.vendor: str | None = None
        self.background = _WHITE
        self.associated: tuple[str, ...] = ()
        self._pixels = PerProcess(functools.partial(_load, location))
        height, width, _ = self._pixels.get().shape
        self.levels = levels_of([(width, height)])
        self.sources = self.levels
        with _opened(location) as image:
            self.properties: Mapping[str, str] = _tiff_properties(image)

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """See `SlideReader`."""
        return self._pixels.get()[y : y + height, x : x + width].copy()

    def forget(self) -> None:
        """See `SlideReader`. The image itself stays in memory."""

    def close(self) -> None:
        """See `SlideReader`."""
        self._pixels.pop()


def is_plain_tiff(location: str) -> bool:
    """Whether a TIFF is a single untiled image that fits into memory.

    Raises:
        SlideError: If it is damaged.
    """
    with _opened(location) as image:
        return (
            isinstance(image, TiffImagePlugin.TiffImageFile)
            and image.n_frames == 1
            and _TAG_TILE_WIDTH not in image.tag_v2
            and image.width * image.height <= _LARGEST_TIFF_PX
        )


@contextmanager
def _opened(location: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            # Pillow warns above 90 Mpx and refuses above 180; the warning targets web uploads.
            warnings.simplefilter("ignore")
            with Image.open(location) as image:
                yield image
    except UnidentifiedImageError as err:
        raise SlideError(f"{location}: is not an image that Pillow can read; expected PNG, JPEG, BMP or TIFF") from err
    except Image.DecompressionBombError as err:
        raise SlideError(f"{location}: {err}; save it as a tiled pyramidal TIFF") from err
    except _DAMAGE as err:
        raise SlideError(f"{location}: is a damaged image ({' '.join(str(err).split())})") from err


def _load(location: str) -> UInt8Array:
    with _opened(location) as image:
        if image.mode not in _MODES:
            raise SlideError(f"{location}: has pixels of mode {image.mode}; expected 8 bits per channel, such as RGB")
        upright = ImageOps.exif_transpose(image)
        if not upright.has_transparency_data:
            return np.array(upright.convert("RGB"))
        flat = Image.new("RGBA", upright.size, (*_WHITE, 255))
        return np.array(Image.alpha_composite(flat, upright.convert("RGBA")).convert("RGB"))


def _tiff_properties(image: Image.Image) -> dict[str, str]:
    """The tags that may state the resolution, under OpenSlide's names."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return {}
    tags = image.tag_v2
    found = {f"tiff.{name}": str(tags[tag]) for tag, name in _TIFF_TAGS.items() if tag in tags}
    unit = _RESOLUTION_UNITS.get(tags.get(_TAG_RESOLUTION_UNIT, 2))
    return found if unit is None else {**found, "tiff.ResolutionUnit": unit}
