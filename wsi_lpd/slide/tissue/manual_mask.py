"""A tissue mask that a person made: an image of the slide's shape, or annotations drawn in QuPath."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wsi_lpd.errors import OverlayError, SlideError
from wsi_lpd.slide.slide import Slide, open_slide
from wsi_lpd.types import BoolArray, Size

_SHAPE_TOLERANCE = 0.02
"""A mask whose width to height differs more than this from the slide's belongs to another slide."""

_FILL_SHIFT = 4
"""OpenCV takes corners in fixed point with this many bits after the point: a sixteenth of a mask pixel."""


def read_manual_mask(path: Path, slide: Slide, size_px: Size) -> BoolArray:
    """Reads the mask at `size_px`, which covers the whole slide.

    Of an image, every pixel that is not black is tissue. Of GeoJSON, every visible area is, but for ignored classes
    (`wsi_lpd.qupath`).

    Raises:
        SlideError: If the file is missing, broken, empty or has another shape than the slide.
    """
    if not path.is_file():
        raise SlideError(f"tissue mask {path}: no such file")
    if path.name.lower().endswith((".geojson", ".json", ".geojson.gz", ".json.gz")):
        return _from_geojson(path, slide, size_px)
    return _from_image(path, slide, size_px)


def _from_image(path: Path, slide: Slide, size_px: Size) -> BoolArray:
    with open_slide(path) as image:
        wanted = slide.size_px.width / slide.size_px.height
        found = image.size_px.width / image.size_px.height
        if max(wanted / found, found / wanted) > 1 + _SHAPE_TOLERANCE:
            raise SlideError(
                f"tissue mask {path}: is {image.size_px.width}x{image.size_px.height}, expected the shape of "
                f"{slide.name} ({slide.size_px.width}x{slide.size_px.height}, any scale)"
            )
        rgb = image.thumbnail(max(size_px))
    marked = (rgb.max(axis=2) > 0).astype(np.uint8)
    mask: BoolArray = cv2.resize(marked, size_px, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    return mask


def _from_geojson(path: Path, slide: Slide, size_px: Size) -> BoolArray:
    from wsi_lpd.qupath.regions import read_regions  # shapely, which most slides do not need

    try:
        tissue = read_regions(path, slide_px=slide.size_px, bounds=slide.bounds).tissue()
    except OverlayError as err:
        raise SlideError(f"tissue mask {err}") from err
    if not tissue:
        raise SlideError(f"tissue mask {path}: has no areas; draw annotations around the tissue and export them")
    mask = np.zeros((size_px.height, size_px.width), np.uint8)
    scale = np.array([size_px.width / slide.size_px.width, size_px.height / slide.size_px.height])
    for geometry in tissue:
        corners = [np.rint((ring * scale - 0.5) * 2**_FILL_SHIFT).astype(np.int32) for ring in _rings(geometry)]
        cv2.fillPoly(mask, corners, 1, shift=_FILL_SHIFT)
    return mask.astype(bool)


def _rings(geometry: Any) -> Iterable[np.ndarray[Any, np.dtype[np.float64]]]:
    """The rings of each polygon of a shapely geometry, holes too: filled together they come out even-odd."""
    for part in getattr(geometry, "geoms", [geometry]):
        if part.geom_type == "Polygon" and not part.is_empty:
            for ring in (part.exterior, *part.interiors):
                yield np.asarray(ring.coords)[:, :2]
