"""Reads slides through TiffSlide: remote files, and TIFFs whose compression or layout OpenSlide does not support."""

from __future__ import annotations

import functools
import logging
import struct
import warnings
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import tiffslide

from wsi_lpd.errors import ImageError, SlideError, one_line
from wsi_lpd.images.coding import RGB, Coding, coding_of
from wsi_lpd.process_local import PerProcess
from wsi_lpd.slide.readers.byte_source import ByteSource
from wsi_lpd.slide.readers.reader import levels_of
from wsi_lpd.types import UInt8Array

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
    warnings: tuple[str, ...] = ()
    background = (255, 255, 255)

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
            self._codings = _codings(handle, location)
            self.vendor: str | None = _vendor(handle)
            # Opening reads no pixel; reading one here reports a missing codec before any work is done.
            self.read_region(0, 0, len(self.levels) - 1, 1, 1)
        except _TIFF_ERRORS as err:
            raise SlideError(f"{location}: TiffSlide cannot read it ({one_line(err)})") from err

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """See `SlideReader`."""
        downsample = self.levels[source].downsample
        corner = (_first_at(x, downsample), _first_at(y, downsample))
        try:
            pixels = self._handles.get().read_region(corner, source, (width, height), as_array=True)
        except _TIFF_ERRORS as err:
            raise SlideError(
                f"{self.location}: its pixels cannot be read at x {corner[0]}, y {corner[1]}, level {source} "
                f"({one_line(err)}); the file is damaged or uses a codec that is not installed"
            ) from err
        return self._codings[source].rgb(pixels, background=self.background)

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


def _codings(handle: tiffslide.TiffSlide, location: str) -> tuple[Coding, ...]:
    """How each level stands for colour; planes of red, green and blue were put together by TiffSlide."""
    series = handle.ts_tifffile.series[0]
    if "C" in series.axes:
        return (Coding(RGB),) * len(series.levels)
    try:
        return tuple(coding_of(level.keyframe) for level in series.levels)
    except ImageError as err:
        raise SlideError(f"{location}: {err}") from err


def _open(location: str, files: PerProcess[ByteSource] | None) -> tiffslide.TiffSlide:
    opened: Any = location if files is None else files.get().for_tifffile()
    named = {} if files is None else {"name": PurePosixPath(location).name}
    try:
        return tiffslide.TiffSlide(opened, tifffile_options=named)
    except _TIFF_ERRORS as err:
        raise SlideError(f"{location}: TiffSlide cannot open it ({one_line(err)})") from err


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
