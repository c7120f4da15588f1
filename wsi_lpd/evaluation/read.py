"""Reading what is compared: overlays, masks, and the mask folders of the patch data sets."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsi_lpd.classes import qupath_classes
from wsi_lpd.datasets import DATA_SETS
from wsi_lpd.errors import LabelError
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.mask import read_mask
from wsi_lpd.qupath.classes import base_class
from wsi_lpd.qupath.frame import stated_offset
from wsi_lpd.qupath.read import Annotation, load_overlay
from wsi_lpd.types import BACKGROUND, IGNORE, Size, UInt8Array

logger = logging.getLogger(__name__)

GEOJSON_SUFFIXES: Final = (".geojson", ".json", ".geojson.gz", ".json.gz")
_TIFF_SUFFIXES: Final = (".tif", ".tiff")
IMAGE_SUFFIXES: Final = (".png", *_TIFF_SUFFIXES)


class Coding(NamedTuple):
    """What the values of a plain mask mean: classes from `first` on, in order; background; 255 is never judged."""

    names: tuple[str, ...] | None
    first: int
    background: int | None


CODINGS: Final[Mapping[str, Coding]] = {
    "index": Coding(None, first=1, background=0),
    **{entry.key: Coding(entry.names, first=0, background=entry.background) for entry in DATA_SETS},
}
"""`index` is ours: 0 is background and class i has the value i + 1. The data sets count classes from 0 and put
background last (`wsi_lpd.datasets`)."""


def coding_named(name: str) -> Coding:
    """The coding of that name.

    Raises:
        LabelError: If it is no key of `CODINGS`.
    """
    if name not in CODINGS:
        raise LabelError(f"coding {name!r}: expected one of {', '.join(CODINGS)}")
    return CODINGS[name]


@dataclass(frozen=True)
class MapSource:
    """A label map; `names[i]` belongs to the value i + 1, None if only numbers are known; frame None = not stated."""

    path: Path
    label_map: UInt8Array
    names: tuple[str, ...] | None
    frame: GridFrame | None = None


@dataclass(frozen=True)
class OutlineSource:
    """Polygons in the frame of an overlay, and what its metadata say of the slide.

    `names` are the classes: those the metadata list, in the order of their label-map values (`in_value_order`), else
    those of the polygons in order of first appearance. `offset_px` is what was subtracted from level-0 positions;
    None = not stated, the same as the other side's.
    `downsample` is that of the label map it was traced from, (x, y).
    """

    path: Path
    annotations: Sequence[Annotation]
    names: tuple[str, ...]
    in_value_order: bool = False
    slide_px: Size | None = None
    offset_px: tuple[int, int] | None = None
    downsample: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()


Source = MapSource | OutlineSource


def read_source(path: Path, coding: Coding) -> Source:
    """Reads an overlay (GeoJSON) or a mask (OME-TIFF, TIFF, PNG).

    Args:
        path: The file.
        coding: Meaning of the values where the file does not say.

    Raises:
        LabelError: If the file is none of these.
        OverlayError: If an overlay or TIFF cannot be read.
    """
    name = path.name.lower()
    if name.endswith(GEOJSON_SUFFIXES):
        return _read_outlines(path)
    if path.suffix.lower() in _TIFF_SUFFIXES:
        mask = read_mask(path)
        if mask.classes is not None:
            return MapSource(path, mask.label_map, canonical_names([c.name for c in mask.classes]), mask.frame)
        return MapSource(path, _decoded(mask.label_map, coding, path), coding.names, mask.frame)
    if path.suffix.lower() == ".png":
        return MapSource(path, _decoded(_read_png(path), coding, path), coding.names)
    raise LabelError(f"{path}: expected an overlay (.geojson, .geojson.gz) or a mask (.ome.tif, .tif, .png)")


def canonical_names(names: Sequence[str]) -> tuple[str, ...]:
    """Class names as QuPath has them: `TUM` and `tumour` are `Tumor`."""
    return tuple(c.name for c in qupath_classes(names))


def mask_files(folder: Path) -> dict[str, Path]:
    """Masks of a folder by name without suffix; a folder with `mask/` (as the data sets come) stands for that.

    Raises:
        LabelError: If there is none.
    """
    inner = folder / "mask" if (folder / "mask").is_dir() else folder
    files = {p.stem: p for p in sorted(inner.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."}
    if not files:
        raise LabelError(f"{inner}: found no masks, expected {', '.join(IMAGE_SUFFIXES)} files")
    return files


def _read_outlines(path: Path) -> OutlineSource:
    overlay = load_overlay(path)
    listed = _listed_classes(overlay.metadata, path)
    annotations = [a._replace(class_name=a.class_name and base_class(a.class_name)) for a in overlay.annotations]
    seen = [a.class_name for a in annotations if a.class_name is not None]
    known = list(dict.fromkeys([*(listed or ()), *seen]))
    canonical: dict[str | None, str] = dict(zip(known, canonical_names(known), strict=True))
    classed = [a._replace(class_name=canonical[a.class_name]) for a in annotations if a.class_name is not None]
    n_without = len(annotations) - len(classed)
    warnings = (f"{path}: {n_without} area(s) without a class are not counted",) if n_without else ()
    notes = overlay.metadata
    width, height = _number(notes, "slide_width_px", path), _number(notes, "slide_height_px", path)
    step_x, step_y = _number(notes, "downsample_x", path), _number(notes, "downsample_y", path)
    return OutlineSource(
        path=path,
        annotations=classed,
        names=tuple(canonical[name] for name in known),
        in_value_order=listed is not None,
        slide_px=None if width is None or height is None else Size(int(width), int(height)),
        offset_px=stated_offset(notes, source=str(path)),
        downsample=None if step_x is None or step_y is None else (step_x, step_y),
        warnings=warnings,
    )


def _listed_classes(notes: Mapping[str, str], path: Path) -> list[str] | None:
    """The classes in the order of their label-map values, as `geojson.place_metadata` records them."""
    if "classes" not in notes:
        return None
    try:
        names = json.loads(notes["classes"])
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LabelError(f"{path}: found classes {notes['classes']!r} in the metadata, expected a JSON list of names")
    return names


def _number(notes: Mapping[str, str], key: str, path: Path) -> float | None:
    if key not in notes:
        return None
    try:
        return float(notes[key])
    except ValueError as err:
        raise LabelError(f"{path}: found {key} {notes[key]!r} in the metadata, expected a number") from err


def _read_png(path: Path) -> UInt8Array:
    """The values of a palette or grey PNG; a palette index is never turned into its colour."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise LabelError(
                    f"{path}: found a {image.mode} image, expected class indices (palette or 8-bit grey PNG); "
                    "save the mask as indices, not as colours"
                )
            return np.asarray(image, dtype=np.uint8)
    except UnidentifiedImageError as err:
        raise LabelError(f"{path}: is no image") from err
    except OSError as err:
        raise LabelError(f"{path}: cannot be read ({err.strerror or err})") from err


def _decoded(values: UInt8Array, coding: Coding, path: Path) -> UInt8Array:
    """Values of a plain mask as a label map."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    n_classes = IGNORE - coding.first if coding.names is None else len(coding.names)
    table[coding.first : coding.first + n_classes] = np.arange(1, n_classes + 1)[: 256 - coding.first]
    if coding.background is not None:
        table[coding.background] = BACKGROUND
    found = np.flatnonzero(np.bincount(values.reshape(-1), minlength=256))
    unknown = [int(v) for v in found if v != IGNORE and table[v] == IGNORE]
    if unknown:
        raise LabelError(
            f"{path}: found the value(s) {unknown}, expected {coding.first} to {coding.first + n_classes - 1}, "
            f"{coding.background} for background, or {IGNORE}; see --coding"
        )
    return table[values]
