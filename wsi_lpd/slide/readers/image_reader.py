"""Plain images (PNG, JPEG, BMP, untiled TIFF) as slides of one level, held in memory."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

import tifffile

from wsi_lpd.errors import ImageError, SlideError
from wsi_lpd.images.decode import is_tiff, opened_tiff, read_rgb
from wsi_lpd.process_local import PerProcess
from wsi_lpd.slide.readers.reader import levels_of
from wsi_lpd.types import UInt8Array

_WHITE = (255, 255, 255)
_TIFF_TAGS = {270: "ImageDescription", 282: "XResolution", 283: "YResolution"}
_RESOLUTION_UNITS = {1: "none", 2: "inch", 3: "centimeter"}
_TAG_RESOLUTION_UNIT = 296

_LARGEST_TIFF_PX: Final = 2**27
"""An untiled TIFF of up to this size (400 MB as RGB) is held in memory; TiffSlide would decode whole strips, or the
whole file, for every region."""


class ImageReader:
    """An image without a pyramid, such as a region of interest cut from a slide."""

    name = "image"
    warnings: tuple[str, ...] = ()

    def __init__(self, location: str) -> None:
        self.location = location
        self.vendor: str | None = None
        self.background = _WHITE
        self.associated: tuple[str, ...] = ()
        self._pixels = PerProcess(functools.partial(_load, location))
        height, width, _ = self._pixels.get().shape
        self.levels = levels_of([(width, height)])
        self.sources = self.levels
        self.properties: Mapping[str, str] = _tiff_properties(location)

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """See `SlideReader`."""
        return self._pixels.get()[y : y + height, x : x + width].copy()

    def forget(self) -> None:
        """See `SlideReader`. The image itself stays in memory."""

    def close(self) -> None:
        """See `SlideReader`."""
        self._pixels.pop()


def is_plain_tiff(location: str) -> bool:
    """Whether a TIFF is one image without tiles that memory can hold, or one in planes, which nobody else reads.

    Raises:
        SlideError: If it is damaged.
    """
    try:
        with opened_tiff(location) as tiff:
            page = tiff.pages.first
            is_single = len(tiff.pages) == 1 and page.imagewidth * page.imagelength <= _LARGEST_TIFF_PX
            return is_single and (not page.is_tiled or (page.samplesperpixel > 1 and page.planarconfig == 2))
    except ImageError as err:
        raise SlideError(f"{location}: {err}") from err


def _load(location: str) -> UInt8Array:
    try:
        return read_rgb(location)
    except ImageError as err:
        raise SlideError(f"{location}: {err}") from err


def _tiff_properties(location: str) -> dict[str, str]:
    """The tags that may state the resolution, under OpenSlide's names."""
    if not is_tiff(location):
        return {}
    with opened_tiff(location) as tiff:
        tags = tiff.pages.first.tags
        found = {f"tiff.{name}": _text(tags[tag]) for tag, name in _TIFF_TAGS.items() if tag in tags}
        unit = _RESOLUTION_UNITS.get(int(tags[_TAG_RESOLUTION_UNIT].value) if _TAG_RESOLUTION_UNIT in tags else 2)
    return found if unit is None else {**found, "tiff.ResolutionUnit": unit}


def _text(tag: tifffile.TiffTag) -> str:
    value = tag.value
    if isinstance(value, tuple) and len(value) == 2:  # a fraction
        return str(value[0] / value[1]) if value[1] else "0"
    return str(value)
