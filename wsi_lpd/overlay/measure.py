"""Numbers about regions, shown in QuPath's measurement table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import shapely

from wsi_lpd.overlay.trace import Regions
from wsi_lpd.types import AnyArray, Int64Array, UInt8Array


def merge_by_class(regions: Regions) -> Regions:
    """One region per class: a MultiPolygon of all its components, in the order of the labels."""
    labels, group = np.unique(regions.labels, return_inverse=True)
    polygons = np.empty(len(labels), dtype=object)
    for index in range(len(labels)):
        polygons[index] = shapely.multipolygons(regions.polygons[group == index])
    number = np.concatenate([[0], group + 1]).astype(np.int32)
    areas_px = np.bincount(group, weights=regions.areas_px, minlength=len(labels)).astype(np.int64)
    return replace(regions, polygons=polygons, labels=labels, components=number[regions.components], areas_px=areas_px)


def measure_regions(
    regions: Regions,
    *,
    pixel_area_um2: float | None,
    probabilities: UInt8Array | None = None,
    prototypes: UInt8Array | None = None,
    class_names: Sequence[str] = (),
) -> list[dict[str, float]]:
    """Measures every region on the label map it was traced from.

    Args:
        regions: N regions; simplified or moved ones give the same numbers, as the pixels are what counts.
        pixel_area_um2: Area of a label-map pixel; None leaves the area out.
        probabilities: uint8 (C + 1, H, W), 255 = 1.0: background first, then the classes.
        prototypes: uint8 (H, W): which prototype of the pixel's class won, counted from 0.
        class_names: Names for the probabilities, C of them.

    Returns:
        Per region: `Predicted area um2`; `Mean probability` of its own class and `Mean probability <class>` of each;
        `Dominant prototype` (counted from 1) and `Dominant prototype share`.
    """
    if len(regions) == 0:
        return []
    pixels = np.flatnonzero(regions.components)
    owner = regions.components.reshape(-1)[pixels].astype(np.int64) - 1
    columns: dict[str, AnyArray] = {}
    if pixel_area_um2 is not None:
        columns["Predicted area um2"] = regions.areas_px * pixel_area_um2
    if probabilities is not None:
        columns |= _mean_probabilities(regions, probabilities, pixels, owner, class_names)
    if prototypes is not None:
        columns |= _dominant_prototypes(regions, prototypes.reshape(-1)[pixels], owner)
    rows: Any = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows] if columns else [{} for _ in range(len(regions))]


def _mean_probabilities(
    regions: Regions, probabilities: UInt8Array, pixels: Int64Array, owner: Int64Array, class_names: Sequence[str]
) -> dict[str, AnyArray]:
    n = len(regions)
    means = [
        np.bincount(owner, weights=plane.reshape(-1)[pixels], minlength=n) / (255 * regions.areas_px)
        for plane in probabilities
    ]
    columns = {"Mean probability": np.array(means)[regions.labels, np.arange(n)]}
    columns |= {f"Mean probability {name}": mean for name, mean in zip(class_names, means[1:], strict=True)}
    return {name: np.round(column, 4) for name, column in columns.items()}


def _dominant_prototypes(regions: Regions, prototype: UInt8Array, owner: Int64Array) -> dict[str, AnyArray]:
    n_prototypes = int(prototype.max(initial=0)) + 1
    counts = np.bincount(owner * n_prototypes + prototype, minlength=len(regions) * n_prototypes)
    counts = counts.reshape(len(regions), n_prototypes)
    share = np.round(counts.max(axis=1) / regions.areas_px, 4)
    return {"Dominant prototype": counts.argmax(axis=1) + 1.0, "Dominant prototype share": share}
