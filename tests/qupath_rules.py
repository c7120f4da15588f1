"""What every QuPath since 0.5 takes of a file, after its own reader: what our overlays are held to."""

from __future__ import annotations

import gzip
import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from wsi_lpd.overlay.check import geometry_problems
from wsi_lpd.qupath.classes import name_problem


def check_overlay_file(path: Path) -> list[str]:
    """Checks a written file against what every QuPath since 0.5 takes; an empty list if it is good.

    The rules are those of QuPath's own reader: one FeatureCollection; objects for geometry and properties; no null
    in id, name, objectType; a colour with every class name; closed valid rings; finite measurements; two decimals.
    """
    if not path.name.lower().endswith((".geojson", ".json", ".geojson.gz", ".json.gz")):
        return [f"{path.name}: QuPath reads only .geojson, .json and these with .gz"]
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8")
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as err:
        return [f"not one JSON document: {err}"]
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        return ["the top level is no FeatureCollection"]
    if not isinstance(document.get("features"), list):
        return ["the FeatureCollection has no list of features"]
    violations = []
    ids: set[str] = set()
    for number, feature in enumerate(document["features"], start=1):
        violations += [f"feature {number}: {problem}" for problem in _feature_problems(feature, ids)]
    return violations


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _feature_problems(feature: Any, ids: set[str]) -> Iterator[str]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        yield "is no Feature"
        return
    yield from _id_problems(feature, ids)
    properties = feature.get("properties")
    if isinstance(properties, dict):
        yield from _property_problems(properties)
    else:
        yield "properties is no object"
    if isinstance(feature.get("geometry"), dict):
        yield from _coordinate_problems(feature["geometry"])
    else:
        yield "geometry is no object"


def _id_problems(feature: dict[str, Any], ids: set[str]) -> Iterator[str]:
    if "id" not in feature:
        return
    identity = feature["id"]
    try:
        uuid.UUID(identity)
    except (ValueError, TypeError, AttributeError):
        yield f"id {identity!r} is no UUID"
        return
    if identity in ids:
        yield f"id {identity} occurs twice"
    ids.add(identity)


def _property_problems(properties: dict[str, Any]) -> Iterator[str]:
    if properties.get("objectType") not in ("annotation", "detection"):
        yield f"objectType is {properties.get('objectType')!r}"
    if "type" in properties:
        yield "a property is called type, which QuPath takes for the object type"
    if "name" in properties and not isinstance(properties["name"], str):
        yield f"name is {properties['name']!r}"
    if "classification" in properties:
        yield from _class_problems(properties["classification"])
    measurements = properties.get("measurements", {})
    if not isinstance(measurements, dict):
        yield "measurements is no map"
    else:
        yield from (f"measurement {k!r} is {v!r}" for k, v in measurements.items() if not _is_measurement(v))
    metadata = properties.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        yield "metadata is no map of texts"


def _class_problems(given: Any) -> Iterator[str]:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        yield f"classification {given!r} is no object with a name"
        return
    yield from (f"class {problem}" for problem in [name_problem(given["name"])] if problem)
    color = given.get("color")
    is_color = isinstance(color, list) and len(color) == 3 and all(type(v) is int and 0 <= v <= 255 for v in color)
    if not is_color:
        yield f"class {given['name']!r} has the colour {color!r}, expected [r, g, b] of 0 to 255"


def _is_measurement(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("NaN", "Infinity", "-Infinity")
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _coordinate_problems(geometry: dict[str, Any]) -> Iterator[str]:
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, list) or not coordinates:
        yield f"geometry {kind!r} is no Polygon or MultiPolygon with coordinates"
        return
    parts = [coordinates] if kind == "Polygon" else coordinates
    if kind == "MultiPolygon" and len(parts) == 1:
        yield "a MultiPolygon of one part: QuPath 0.5 fails on it"
    problems = [problem for part in parts for ring in part for problem in _ring_problems(ring)]
    if problems or not all(parts):
        yield from problems or ["a part without rings"]
        return
    whole = shapely.MultiPolygon([shapely.Polygon(part[0], part[1:]) for part in parts])
    yield from (problem for problem in geometry_problems([whole]) if problem is not None)


def _ring_problems(ring: Any) -> Iterator[str]:
    xy = np.array(ring, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        yield "a ring is no list of finite [x, y]"
    elif len(xy) < 4:
        yield f"a ring of {len(xy)} positions"
    elif (xy[0] != xy[-1]).any():
        yield "a ring is not closed"
    elif (np.abs(xy - np.round(xy, 2)) > 1e-9).any():
        yield "a coordinate has more than two decimals"
