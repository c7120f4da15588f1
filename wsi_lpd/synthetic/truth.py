"""Writes the truth as polygons, square by square, so that memory does not grow with the slide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import imagecodecs
import numpy as np
import shapely
import tifffile

from wsi_lpd.classes import qupath_classes
from wsi_lpd.types import AnyArray, Size, UInt8Array

from .textures import SYNTHETIC_CLASSES

if TYPE_CHECKING:
    from wsi_lpd.overlay.geojson import Feature

_SQUARE_PX: Final = 1024
"""Regions are traced within squares of this many truth pixels and cut along their borders."""


def write_truth_geojson(path: Path, truth_image: Path, *, size_px: Size, downsample: int, slide: str) -> int:
    """Writes the truth image as QuPath annotations, whose outlines follow the edges of its pixels exactly.

    Args:
        path: The GeoJSON file.
        truth_image: As written by `SlideWriter.write_truth`.
        size_px: Size of the slide at level 0, to which outlines are clipped.
        downsample: Level-0 pixels per truth pixel.
        slide: Name of the slide, from which the ids of the annotations are derived.

    Returns:
        Number of annotations.
    """
    from wsi_lpd.overlay.geojson import write_overlay

    metadata = {"source": "wsi-lpd synthetic truth", "slide": slide, "downsample": str(downsample)}
    if max(size_px) > _SQUARE_PX * downsample:
        metadata["cut"] = f"regions are cut along a grid of {_SQUARE_PX * downsample} px"
    with tifffile.TiffFile(truth_image) as tiff:
        return write_overlay(path, _features(tiff, size_px, downsample), slide=slide, metadata=metadata)


def _features(tiff: tifffile.TiffFile, size_px: Size, downsample: int) -> Iterator[Feature]:
    from wsi_lpd.overlay.frame import GridFrame
    from wsi_lpd.overlay.geojson import region_features
    from wsi_lpd.overlay.tracing.trace import trace_regions

    height, width = tiff.pages.first.shape
    for y in range(0, height, _SQUARE_PX):
        for x in range(0, width, _SQUARE_PX):
            frame = GridFrame(downsample, downsample, -x * downsample, -y * downsample)
            traced = trace_regions(_square(tiff, x, y), frame=frame)
            inside = shapely.transform(traced.polygons, lambda xy: np.minimum(xy, size_px))
            yield from region_features(replace(traced, polygons=inside), qupath_classes(SYNTHETIC_CLASSES))


def _square(tiff: tifffile.TiffFile, x: int, y: int) -> UInt8Array:
    """The truth pixels from (x, y), at most _SQUARE_PX each way."""
    page = tiff.pages.first
    side = page.chunks[0]
    height, width = min(page.shape[0] - y, _SQUARE_PX), min(page.shape[1] - x, _SQUARE_PX)
    columns, rows = -(-width // side), -(-height // side)
    out = np.empty((rows * side, columns * side), np.uint8)
    for row in range(rows):
        for column in range(columns):
            number = (y // side + row) * -(-page.shape[1] // side) + x // side + column
            out[row * side : (row + 1) * side, column * side : (column + 1) * side] = _tile(tiff, number, side)
    return out[:height, :width]


def _tile(tiff: tifffile.TiffFile, number: int, side: int) -> AnyArray:
    page = tiff.pages.first
    tiff.filehandle.seek(page.dataoffsets[number])
    packed = tiff.filehandle.read(page.databytecounts[number])
    return np.frombuffer(imagecodecs.zlib_decode(packed), np.uint8).reshape(side, side)
