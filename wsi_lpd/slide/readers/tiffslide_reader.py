"""Reads slides through TiffSlide: remote files, and TIFFs whose compression or layout OpenSlide does not support."""

from __future__ import annotations

import functools
import logging
import struct
import warnings
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import tiffslide

from wsi_lpd.errors import SlideError
from wsi_lpd.slide.readers.byte_source import ByteSource
from wsi_lpd.slide.readers.reader import PerProcess, levels_of
from wsi_lpd.types import AnyArray, UInt8Array

# tifffile logs defects of damaged files before it raises; our error message is enough.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)
# When one tile fails, zarr abandons the tasks of the others, and asyncio logs each of them when Python exits.
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Task was destroyed"))

_TIFF_ERRORS = (
    OSError,
    ValueError,  # TiffFileError, zarr's errors
    LookupError,
    TypeError,
    RuntimeError,  # imagecodecs' errors
    ArithmeticError,
    AttributeError,
    AssertionError,
    ImportError,  # a missing optional codec
    MemoryError,  # a damaged header that asks for terabytes
    struct.error,
)
"""Exceptions of tifffile, zarr and imagecodecs on damaged files, found by truncating real files and flipping bytes."""

_VENDORS = {"svs": "aperio", "scn": "leica", "bif": "ventana", "ndpi": "hamamatsu", "philips": "philips"}
"""OpenSlide's names of the formats that tifffile recognises."""


class TiffSlideReader:
    """A tiled, striped or remote TIFF."""

    name = "tiffslide"

    def __init__(self, location: str, files: PerProcess[ByteSource] | None = None) -> None:
        """Reads the file through `files` if given, else by its location."""
        self.location = location
        self._files = files
        self._handles = PerProcess(functools.partial(_open, location, files))
        handle = self._handles.get()
        try:
            self.properties: Mapping[str, str] = _texts(handle)
            self.levels = levels_of(list(handle.level_dimensions))
            self.sources = self.levels
            self.associated = tuple(handle.associated_images)
            # Opening reads no pixel; reading one here reports a missing codec before any work is done.
            self.read_region(0, 0, len(self.levels) - 1, 1, 1)
        except _TIFF_ERRORS as err:
            raise SlideError(f"{location}: TiffSlide cannot read it ({_one_line(err)})") from err
        self.vendor: str | None = _vendor(handle)
        self.background = (255, 255, 255)

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """See `SlideReader`."""
        downsample = self.levels[source].downsample
        corner = (_first_at(x, downsample), _first_at(y, downsample))
        try:
            pixels = self._handles.get().read_region(corner, source, (width, height), as_array=True)
        except _TIFF_ERRORS as err:
            raise SlideError(
                f"{self.location}: its pixels cannot be read at x {corner[0]}, y {corner[1]}, level {source} "
                f"({_one_line(err)}); the file is damaged or uses a codec that is not installed"
            ) from err
        return rgb_of(pixels, location=self.location, background=(255, 255, 255))

    def forget(self) -> None:
        """See `SlideReader`. There is no cache."""

    def close(self) -> None:
        """See `SlideReader`."""
        handle = self._handles.pop()
        if handle is not None:
            handle.close()
        file = None if self._files is None else self._files.pop()
        if file is not None:
            file.close()


def rgb_of(pixels: AnyArray, *, location: str, background: tuple[int, int, int]) -> UInt8Array:
    """RGB (H, W, 3) of grey, grey and alpha, RGB or RGBA pixels (H, W[, C]), composited on `background`.

    Raises:
        SlideError: If they are none of these, or not 8 bits per channel.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 2, 3, 4):
        raise SlideError(
            f"{location}: has {channels} channel(s) of {pixels.dtype}; expected 8-bit RGB, RGBA or grey; "
            "export it as 8-bit RGB"
        )
    planes = pixels.reshape(*pixels.shape[:2], channels)
    colour = planes[..., :3] if channels >= 3 else np.repeat(planes[..., :1], 3, axis=2)
    if channels in (1, 3):
        return np.array(colour, order="C")
    share = planes[..., -1:].astype(np.float32) / 255
    return np.rint(colour * share + np.array(background, np.float32) * (1 - share)).astype(np.uint8)


def _open(location: str, files: PerProcess[ByteSource] | None) -> tiffslide.TiffSlide:
    opened: Any = location if files is None else files.get().for_tifffile()
    named = {} if files is None else {"name": PurePosixPath(location).name}
    try:
        return tiffslide.TiffSlide(opened, tifffile_options=named)
    except _TIFF_ERRORS as err:
        raise SlideError(f"{location}: TiffSlide cannot open it ({_one_line(err)})") from err


def _vendor(handle: tiffslide.TiffSlide) -> str:
    """The format under OpenSlide's name. TiffSlide itself states none for BIF, Philips and plain TIFFs."""
    tiff = handle.ts_tifffile
    return next((vendor for name, vendor in _VENDORS.items() if getattr(tiff, f"is_{name}")), "generic-tiff")


def _texts(handle: tiffslide.TiffSlide) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "metadata parsing only partially implemented"
        return {key: str(value) for key, value in handle.properties.items() if value is not None}


def _first_at(position_px: int, downsample: float) -> int:
    """The smallest level-0 coordinate that TiffSlide, which truncates fractions, maps to `position_px`."""
    guess = int(position_px * downsample)
    return guess if int(guess / downsample) >= position_px else guess + 1


def _one_line(err: BaseException) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__
