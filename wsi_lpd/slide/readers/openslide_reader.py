"""Reads slides through OpenSlide: nearly every format, with one cache shared by all open slides."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Mapping

import cv2
import numpy as np
import openslide
from PIL import Image

from wsi_lpd.errors import SlideError, one_line
from wsi_lpd.process_local import PerProcess
from wsi_lpd.slide.readers.reader import UnknownFormatError, levels_of
from wsi_lpd.types import UInt8Array

CACHE_BYTES = 256 * 2**20
"""OpenSlide's default of 32 MiB per handle holds less than one row of 256-px tiles of a large slide, so each row of
reads would decode the row above again; 256 MiB hold several rows."""

_log = logging.getLogger(__name__)


class OpenSlideReader:
    """A slide in a format that OpenSlide supports."""

    name = "openslide"
    warnings: tuple[str, ...] = ()

    def __init__(self, location: str) -> None:
        self.location = location
        self._handles = PerProcess(functools.partial(_open, location))
        handle = self._handles.get()
        try:
            self.properties = _texts(handle)
            self.levels = levels_of(list(handle.level_dimensions))
            self.sources = self.levels
            self.associated = tuple(handle.associated_images)
        except openslide.OpenSlideError as err:
            raise SlideError(f"{location}: OpenSlide cannot read its metadata ({one_line(err)})") from err
        self.vendor = self.properties.get(openslide.PROPERTY_NAME_VENDOR)
        self.background = _colour(self.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR))

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """See `SlideReader`.

        After an error OpenSlide answers every call on that handle with the same error. So a failed read is retried once
        on a new handle: this distinguishes damage here from damage met elsewhere, earlier or by another thread, and
        keeps the intact parts of the slide readable.
        """
        corner = (round(x * self.levels[source].downsample), round(y * self.levels[source].downsample))
        handle = self._handles.get()
        try:
            return self._composite(handle.read_region(corner, source, (width, height)))
        except openslide.OpenSlideError:
            fresh = _open(self.location)
        try:
            pixels = self._composite(fresh.read_region(corner, source, (width, height)))
        except openslide.OpenSlideError as err:
            raise SlideError(
                f"{self.location}: its pixels cannot be read at x {corner[0]}, y {corner[1]}, level {source} "
                f"({one_line(err)}); the file is damaged: download or export it again"
            ) from err
        self._handles.replace(handle, fresh)
        return pixels

    def forget(self) -> None:
        """See `SlideReader`. OpenSlide manages its cache, which all slides share, itself."""

    def close(self) -> None:
        """See `SlideReader`."""
        handle = self._handles.pop()
        if handle is not None:
            handle.close()

    def _composite(self, image: Image.Image) -> UInt8Array:
        rgba = np.asarray(image)
        rgb = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB).astype(np.uint8, copy=False)
        alpha = rgba[..., 3]
        if alpha.min() == 255:
            return rgb
        share = alpha[..., None].astype(np.float32) / 255
        backdrop = np.array(self.background, np.float32)
        return np.rint(rgb * share + backdrop * (1 - share)).astype(np.uint8)


def _open(location: str) -> openslide.OpenSlide:
    try:
        handle = openslide.OpenSlide(location)
        handle.set_cache(_cache(os.getpid()))
    except openslide.OpenSlideUnsupportedFormatError as err:
        raise UnknownFormatError(f"{location}: OpenSlide does not support its format") from err
    except openslide.OpenSlideError as err:
        message = f"{location}: OpenSlide cannot open it ({one_line(err)})"
        # A compression that libtiff lacks (WebP, LERC ...) is not damage: tifffile may support it.
        raise (UnknownFormatError if "Unsupported TIFF compression" in message else SlideError)(message) from err
    return handle


@functools.cache
def _cache(process: int) -> openslide.OpenSlideCache:
    """One cache for all slides of a process; a forked child creates its own, as the parent's may be locked."""
    _log.debug("process %d: OpenSlide cache of %d MiB", process, CACHE_BYTES // 2**20)
    return openslide.OpenSlideCache(CACHE_BYTES)


def _texts(handle: openslide.OpenSlide) -> Mapping[str, str]:
    """All properties, except those with a damaged name that OpenSlide lists but cannot look up."""
    stated = handle.properties
    return {key: value for key in stated if (value := stated.get(key)) is not None}


def _colour(text: str | None) -> tuple[int, int, int]:
    """Parses OpenSlide's `RRGGBB`; white if none is stated."""
    if text is None or re.fullmatch("[0-9A-Fa-f]{6}", text) is None:
        return (255, 255, 255)
    red, green, blue = bytes.fromhex(text)
    return (red, green, blue)
