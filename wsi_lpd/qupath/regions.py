"""The areas of a QuPath file on a slide: placed at level 0, named by class, and none below another."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

from wsi_lpd.errors import OverlayError
from wsi_lpd.qupath.classes import Kind, base_class, kind_of
from wsi_lpd.qupath.frame import offset_of
from wsi_lpd.qupath.read import load_overlay
from wsi_lpd.types import AnyArray, Box, Int64Array, Size

logger = logging.getLogger(__name__)


class Region(NamedTuple):
    """An area of one class.

    Attributes:
        class_name: Its class without sub-classes; None where it names none.
        kind: What that says; see `wsi_lpd.qupath.classes`.
        geometry: Shapely Polygon or MultiPolygon in level-0 pixels.
    """

    class_name: str | None
    kind: Kind
    geometry: Any


@dataclass(frozen=True)
class Regions:
    """The areas of a file, in file order, as they were drawn: they may overlap.

    Attributes:
        path: The file.
        regions: Its areas.
    """

    path: Path
    regions: Sequence[Region]

    def classes(self) -> dict[str, list[Any]]:
        """The visible areas of each class (see `visible`), in order of first appearance."""
        areas: dict[str, list[Any]] = {}
        for region in visible(self.regions):
            if region.kind == "class" and region.class_name is not None:
                areas.setdefault(region.class_name, []).append(region.geometry)
        return areas

    def tissue(self) -> list[Any]:
        """The visible areas that are tissue: those of classes, and outlines without one."""
        return [region.geometry for region in visible(self.regions) if region.kind != "ignored"]


def read_regions(path: Path, *, slide_px: Size, bounds: Box | None, origin: str = "auto") -> Regions:
    """Reads the areas of a GeoJSON file onto a slide.

    Args:
        path: The file.
        slide_px: Size of the slide at level 0.
        bounds: Its bounds, where it states any.
        origin: Frame of the file; see `offset_of`.

    Raises:
        OverlayError: If the file is no GeoJSON of areas, or none of them lies on the slide.
    """
    overlay = load_overlay(path)
    shift = np.array(offset_of(overlay.metadata, bounds, origin=origin, source=str(path)), np.float64)
    regions = [
        Region(
            None if annotation.class_name is None else base_class(annotation.class_name),
            kind_of(annotation.class_name),
            annotation.geometry,
        )
        for annotation in overlay.annotations
    ]
    if shift.any():
        moved = shapely.transform(np.array([r.geometry for r in regions], object), lambda xy: xy + shift)
        regions = [region._replace(geometry=geometry) for region, geometry in zip(regions, moved, strict=True)]
    _check_place(path, regions, slide_px)
    return Regions(path, regions)


def visible(regions: Sequence[Region]) -> list[Region]:
    """Each area less what smaller areas cover that were drawn on it, in file order; areas of which nothing is left go.

    In QuPath an annotation inside another is its child, and says what is there. Areas of one class do not cover each
    other.
    """
    geometries = np.array([region.geometry for region in regions], object)
    if len(geometries) < 2:
        return list(regions)
    above = _covering(regions, geometries)
    result = []
    for i, region in enumerate(regions):
        covers = above.get(i)
        if covers is None:
            result.append(region)
            continue
        rest = _areas_of(shapely.difference(region.geometry, shapely.union_all(geometries[covers])))
        if not rest.is_empty:
            result.append(region._replace(geometry=rest))
    return result


def _covering(regions: Sequence[Region], geometries: AnyArray) -> dict[int, list[int]]:
    """For each area that has any, the smaller ones of another class that share some of it."""
    areas = shapely.area(geometries)
    order = np.empty(len(areas), np.int64)
    order[np.argsort(-areas, kind="stable")] = np.arange(len(areas))  # of equals the later one lies on top
    names = np.unique([f"{region.kind} {region.class_name}" for region in regions], return_inverse=True)[1]
    lower, upper = _pairs(geometries)
    chosen = (order[lower] < order[upper]) & (names[lower] != names[upper])
    lower, upper = lower[chosen], upper[chosen]
    shares = shapely.relate_pattern(geometries[lower], geometries[upper], "T********")
    above: dict[int, list[int]] = {}
    for below, over in zip(lower[shares].tolist(), upper[shares].tolist(), strict=True):
        above.setdefault(below, []).append(over)
    return above


def _pairs(geometries: AnyArray) -> tuple[Int64Array, Int64Array]:
    shapely.prepare(geometries)
    left, right = shapely.STRtree(geometries).query(geometries, predicate="intersects")
    return left, right


def _areas_of(geometry: Any) -> Any:
    """What of a geometry is an area; a difference may leave lines and points behind."""
    parts = shapely.get_parts(geometry)
    kept = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return kept[0] if len(kept) == 1 else shapely.MultiPolygon(list(kept))


def _check_place(path: Path, regions: Sequence[Region], slide_px: Size) -> None:
    """Areas that all lie beside the slide belong to another one, or begin elsewhere."""
    if not regions:
        return
    left, top, right, bottom = shapely.total_bounds([region.geometry for region in regions])
    if right <= 0 or bottom <= 0 or left >= slide_px.width or top >= slide_px.height:
        raise OverlayError(
            f"{path}: its areas lie at x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}, all outside the slide "
            f"of {slide_px.width} x {slide_px.height} px; is it another slide's file, or does it need --origin level0 "
            "or --origin bounds?"
        )
