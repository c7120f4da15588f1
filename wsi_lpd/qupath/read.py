"""Reading GeoJSON as QuPath of any age writes it, and our own overlays."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import geojson
import numpy as np
import shapely

from wsi_lpd.errors import OverlayError
from wsi_lpd.types import AnyArray

logger = logging.getLogger(__name__)

_GEOMETRIES: Final = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")
_NOT_REGIONS: Final = ("root", "tmaCore", "tma_core", "PathRootObject", "TMACoreObject")
_OLD_OBJECT_TYPES: Final = ("PathRootObject", "TMACoreObject")
_ELLIPSE_POINTS: Final = 128
_LARGEST_COLOR: Final = 2**31
_MOST_BYTES: Final = 2**29
"""Of a file, unpacked: QuPath needs some twenty times as much memory to open it."""


class Annotation(NamedTuple):
    """One area of a file: its class (None where it has none), its shapely Polygon or MultiPolygon, its name.

    Coordinates are level-0 pixels as QuPath shows the slide: with its bounds cut away where it states them.
    """

    class_name: str | None
    geometry: Any
    name: str | None = None


@dataclass(frozen=True)
class OverlayFile:
    """What a GeoJSON file holds.

    Attributes:
        annotations: Its areas in file order, children after their parent.
        skipped: How many objects of each kind were left out (points, lines, empty areas, TMA cores).
        metadata: The collection's own metadata, as `write_overlay` records it; empty for files of others.
        colors: Colour of each class that states one.
    """

    annotations: list[Annotation]
    skipped: Counter[str]
    metadata: Mapping[str, str]
    colors: Mapping[str, tuple[int, int, int]]


def load_overlay(path: Path) -> OverlayFile:
    """Reads a GeoJSON file: a FeatureCollection, an array, one Feature or a bare geometry; plain or gzip-compressed.

    A class is `classification` (an object with `name` or `names`, or text), else `label` as the Digital Slide
    Archive writes it. Points and lines are skipped and counted; areas that cross themselves are repaired, and the
    log says how many.

    Raises:
        OverlayError: If the file is no such GeoJSON; the message names the file and the feature, counted from 1.
    """
    document = _parse(path)
    reader = _Reader(path)
    for number, feature in enumerate(_features(document, path), start=1):
        reader.read(feature, f"{path}: feature {number}")
    reader.report()
    metadata = document.get("metadata") if isinstance(document, dict) else None
    texts = {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}
    return OverlayFile(reader.annotations, reader.skipped, texts, reader.colors)


def _parse(path: Path) -> Any:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = _gunzipped(path)
        if len(data) > _MOST_BYTES:
            raise OverlayError(f"{path}: holds {len(data):,} bytes of GeoJSON, expected at most {_MOST_BYTES:,}")
        return json.loads(data.decode("utf-8-sig")) if data.strip() else []
    except (EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise OverlayError(f"{path}: the gzip data is damaged ({err}); write or copy the file again") from err
    except OSError as err:
        raise OverlayError(f"{path}: cannot be read ({err.strerror or err})") from err
    except UnicodeDecodeError as err:
        raise OverlayError(f"{path}: is not UTF-8 text, expected GeoJSON (a .zip has to be unpacked first)") from err
    except (ValueError, RecursionError) as err:
        raise OverlayError(f"{path}: is not JSON ({err}); expected one GeoJSON document as QuPath exports it") from err


def _gunzipped(path: Path) -> bytes:
    """The content, as far as the limit and one byte."""
    with gzip.open(path) as stream:
        return stream.read(_MOST_BYTES + 1)


def _features(document: Any, path: Path) -> Iterator[Any]:
    """Yields features (and bare geometries) of all the top levels that QuPath knows."""
    if isinstance(document, list):
        for element in document:
            yield from _features(element, path)
    elif isinstance(document, dict) and isinstance(document.get("features"), list):
        yield from document["features"]
    elif isinstance(document, dict) and document.get("type") in ("Feature", *_GEOMETRIES):
        yield document
    elif not (isinstance(document, dict) and document.get("type") == "FeatureCollection"):
        kind = document.get("type") if isinstance(document, dict) else type(document).__name__
        raise OverlayError(
            f"{path}: found {kind!r}, expected a FeatureCollection, Features or geometries; "
            "export the annotations from QuPath with File > Export objects as GeoJSON"
        )


class _Reader:
    """Collects what the features of one file hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.annotations: list[Annotation] = []
        self.skipped: Counter[str] = Counter()
        self.colors: dict[str, tuple[int, int, int]] = {}
        self.n_repaired = 0

    def read(self, feature: Any, where: str) -> None:
        """Takes one feature and all its children in."""
        waiting = [feature]
        while waiting:  # not recursive: a file may nest as deep as it likes
            current = waiting.pop()
            properties = _properties(current, where)
            self._read_one(current, properties, where)
            children = properties.get("childObjects", properties.get("children"))
            if isinstance(children, list):
                waiting.extend(reversed(children))

    def report(self) -> None:
        """Tells the log what was left out or mended."""
        if self.skipped:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.skipped.items()))
            logger.warning("%s: skipped what is no area: %s", self.path, kinds)
        if self.n_repaired:
            logger.warning("%s: repaired %d area(s) whose outline crosses itself", self.path, self.n_repaired)

    def _read_one(self, feature: dict[str, Any], properties: dict[str, Any], where: str) -> None:
        object_type = next((properties[k] for k in ("objectType", "object_type", "type") if k in properties), None)
        if object_type in _NOT_REGIONS or feature.get("id") in _OLD_OBJECT_TYPES:
            self.skipped[str(object_type or feature.get("id"))] += 1
            return
        geometry = self._geometry(feature, where)
        if geometry is not None:
            name = properties.get("name")
            class_name = self._class_name(properties, where)
            self.annotations.append(Annotation(class_name, geometry, None if name is None else str(name)))

    def _geometry(self, feature: dict[str, Any], where: str) -> Any:
        source = feature if feature.get("type") in _GEOMETRIES else feature.get("geometry")
        kind = source.get("type") if isinstance(source, dict) else None
        if not isinstance(source, dict) or kind not in _GEOMETRIES:
            raise OverlayError(f"{where}: found geometry {kind!r}, expected one of {', '.join(_GEOMETRIES)}")
        if kind not in ("Polygon", "MultiPolygon"):
            self.skipped[kind] += 1
            return None
        geometry = _area(source, where)
        if not geometry.is_valid:
            geometry = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
            self.n_repaired += 1
        if geometry.is_empty or geometry.area == 0:
            self.skipped[f"empty {kind}"] += 1
            return None
        return geometry

    def _class_name(self, properties: dict[str, Any], where: str) -> str | None:
        given = properties.get("classification", properties.get("label"))
        if given is None or isinstance(given, str):
            return _stripped(given)
        if not isinstance(given, dict):
            raise OverlayError(f"{where}: found classification {given!r}, expected an object with a name, or text")
        names = given.get("names") if given.get("name") is None else [given["name"]]
        name = _stripped(": ".join(str(part) for part in names)) if isinstance(names, list) else None
        color = _color(given)
        if name is not None and color is not None:
            self.colors.setdefault(name, color)
        return name


def _stripped(name: str | None) -> str | None:
    return None if name is None or not name.strip() else name.strip()


def _properties(feature: Any, where: str) -> dict[str, Any]:
    if not isinstance(feature, dict):
        raise OverlayError(f"{where}: found {type(feature).__name__}, expected a GeoJSON Feature")
    properties = feature.get("properties")
    if properties is not None and not isinstance(properties, dict):
        raise OverlayError(f"{where}: found properties {properties!r}, expected an object")
    return {} if properties is None else properties


def _color(classification: dict[str, Any]) -> tuple[int, int, int] | None:
    color, packed = classification.get("color"), classification.get("colorRGB")
    if isinstance(color, list) and len(color) in (3, 4) and all(_is_number(v) for v in color):
        return int(color[0]) & 255, int(color[1]) & 255, int(color[2]) & 255
    if isinstance(packed, int):  # QuPath before 0.4: 0xAARRGGBB as a signed number
        return packed >> 16 & 255, packed >> 8 & 255, packed & 255
    return None


def _numeric(coordinates: Any) -> Any:
    """Coordinates with numbers that are written as text, which QuPath takes, as numbers."""
    if isinstance(coordinates, list):
        if coordinates and isinstance(coordinates[0], str):
            return [float(value) for value in coordinates]
        return [_numeric(part) for part in coordinates] if not _is_position(coordinates) else coordinates
    return coordinates


def _is_position(coordinates: list[Any]) -> bool:
    return bool(coordinates) and isinstance(coordinates[0], int | float)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < _LARGEST_COLOR


def _area(source: dict[str, Any], where: str) -> Any:
    kind = source["type"]
    if not isinstance(source.get("coordinates"), list):
        raise OverlayError(f"{where}: the {kind} has no list of coordinates")
    try:
        coordinates = getattr(geojson, kind)(_numeric(source["coordinates"])).coordinates
        parts = [coordinates] if kind == "Polygon" else coordinates
        polygons = [_polygon(part) for part in parts if part]
    except (ValueError, TypeError, IndexError, OverflowError, shapely.errors.GEOSException) as err:
        raise OverlayError(f"{where}: the coordinates of the {kind} cannot be read ({err})") from err
    geometry = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    return _ellipse(geometry) if source.get("isEllipse") is True and polygons else geometry


def _polygon(rings: list[Any]) -> Any:
    if not rings[0]:
        raise ValueError("the outer ring is empty")
    shell, *holes = [_ring(ring) for ring in rings if ring]
    return shapely.Polygon(shell, holes)


def _ring(positions: list[Any]) -> AnyArray:
    xy = np.array([position[:2] for position in positions], dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError("positions must be [x, y]")
    if len(xy) < 3:
        raise ValueError(f"a ring of {len(xy)} position(s), expected at least 4")
    if not np.isfinite(xy).all():
        raise ValueError("a position is not finite")
    return xy


def _ellipse(geometry: Any) -> Any:
    """The ellipse in the bounding box: QuPath drops the outline it wrote and does the same."""
    left, top, right, bottom = geometry.bounds
    angle = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)
    x = (left + right) / 2 + (right - left) / 2 * np.cos(angle)
    y = (top + bottom) / 2 + (bottom - top) / 2 * np.sin(angle)
    return shapely.Polygon(np.stack([x, y], axis=1))
