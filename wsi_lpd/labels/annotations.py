"""Patch labels from areas drawn in QuPath.

The rule, per patch and class, is one of evidence:

- 1 where the class covers at least `label_fraction` of the patch. What is drawn is there, however little else is.
- 0 where it covers less, and annotations of any class cover at least `annotated_fraction` of the patch's tissue: the
  annotator has judged this patch and did not find the class.
- not labelled (-1) otherwise: nobody has said what the rest of the patch shows.

So a file that maps the whole tissue gives full labels, and one with a few outlines on a slide gives labels on and in
these outlines only; no tissue counts as free of tumour because nobody drew on it. An annotator who has drawn every
area of the classes, and only these, says so with `complete`: then every patch is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from wsi_lpd.config import TileConfig
from wsi_lpd.errors import LabelError
from wsi_lpd.labels.table import UNKNOWN, Int8Array, find_class
from wsi_lpd.types import AnyArray, Float32Array, Float64Array, Int64Array

SUFFIXES = (".geojson", ".geojson.gz", ".truth.geojson", ".truth.geojson.gz", ".json")

_PIECE_POINTS = 200
"""Outlines are cut into pieces of about this many points: clipping one to a patch takes time in proportion."""


def find_annotations(path: Path, slide_file: Path, slide_name: str, *, n_slides: int) -> Path | None:
    """The annotation file of a slide.

    Args:
        path: A file (for one slide), a folder with one file per slide, or a path whose `*` stands for the slide's name.
        slide_file: The slide.
        slide_name: Its name without extension.
        n_slides: Slides of the call.

    Returns:
        The file, or None if the folder or pattern has none for this slide.

    Raises:
        LabelError: If one file is given for several slides, or it does not exist.
    """
    if "*" in path.name:
        found = path.with_name(path.name.replace("*", slide_name))
        return found if found.is_file() else None
    if path.is_dir():
        names = [f"{stem}{suffix}" for stem in (slide_name, slide_file.name) for suffix in SUFFIXES]
        return next((path / name for name in names if (path / name).is_file()), None)
    if not path.exists():
        raise LabelError(f"{path}: no such annotation file or folder")
    if n_slides > 1:
        raise LabelError(
            f"{path}: is one annotation file for {n_slides} slides; give a folder with <slide>.geojson for each, or a "
            "pattern such as 'annotations/*.geojson'"
        )
    return path


def label_patches(
    areas: Mapping[str, Sequence[Any]],
    classes: Sequence[str],
    *,
    boxes: Int64Array,
    tissue: Float32Array,
    config: TileConfig,
    complete: bool = False,
) -> Int8Array:
    """Labels of patches by the rule of this module.

    Args:
        areas: Areas per class name, as `Regions.classes` gives them; names may be other names of `classes`.
        classes: The classes to label.
        boxes: The patches, (N, 4) as x, y, width, height in level-0 px.
        tissue: Their tissue fractions, (N,).
        config: For `label_fraction` and `annotated_fraction`.
        complete: Every area of the classes was drawn: what is not drawn is absent.

    Returns:
        1, 0 or -1, (N, C).
    """
    labels = np.full((len(boxes), len(classes)), 0 if complete else UNKNOWN, np.int8)
    drawn = [geometry for geometries in areas.values() for geometry in geometries]
    judged = area_fractions(drawn, boxes) >= config.annotated_fraction * np.maximum(tissue, np.finfo(np.float32).tiny)
    labels[judged] = 0
    for i, name in enumerate(classes):
        same = [g for other, geometries in areas.items() if find_class(name, [other]) is not None for g in geometries]
        labels[area_fractions(same, boxes) >= config.label_fraction, i] = 1
    return labels


def area_fractions(geometries: Sequence[Any], boxes: Int64Array) -> Float64Array:
    """Exact share of each box that the union of the geometries covers.

    Args:
        geometries: Shapely areas in level-0 px; they may overlap.
        boxes: (N, 4) as x, y, width, height in level-0 px.

    Returns:
        (N,), 0 to 1.
    """
    if not len(geometries) or not len(boxes):
        return np.zeros(len(boxes))
    pieces = _pieces(shapely.disjoint_subset_union_all(np.array(geometries, object)))
    x, y, width, height = boxes.T
    rectangles = shapely.box(x, y, x + width, y + height)
    patch, piece = shapely.STRtree(pieces).query(rectangles, predicate="intersects")
    shared = shapely.area(shapely.intersection(rectangles[patch], pieces[piece]))
    covered = np.bincount(patch, weights=shared, minlength=len(boxes))
    fractions: Float64Array = np.minimum(covered / (width * height), 1.0)
    return fractions


def _pieces(area: Any) -> AnyArray:
    """Cuts an area into disjoint pieces of few points each, along straight lines, so that none of it is lost."""
    done: list[Any] = []
    waiting = list(shapely.get_parts(area))
    while waiting:
        part = waiting.pop()
        if shapely.get_type_id(part) not in (3, 6):  # a cut may leave points and lines behind
            continue
        left, top, right, bottom = part.bounds
        if shapely.get_num_coordinates(part) <= _PIECE_POINTS or max(right - left, bottom - top) < 1:
            done.append(part)
            continue
        for half in _halves(part.bounds):
            waiting.extend(shapely.get_parts(shapely.intersection(part, half)))
    return np.array(done, dtype=object)


def _halves(bounds: tuple[float, float, float, float]) -> tuple[Any, Any]:
    left, top, right, bottom = bounds
    if right - left >= bottom - top:
        middle = (left + right) / 2
        return shapely.box(left, top, middle, bottom), shapely.box(middle, top, right, bottom)
    middle = (top + bottom) / 2
    return shapely.box(left, top, right, middle), shapely.box(left, middle, right, bottom)
