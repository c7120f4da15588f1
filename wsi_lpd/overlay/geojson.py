"""Writing regions as GeoJSON that QuPath takes: checked, streamed, one feature per line."""

from __future__ import annotations

import binascii
import gzip
import hashlib
import json
import logging
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import shapely

from wsi_lpd.classes import TissueClass
from wsi_lpd.errors import OverlayError
from wsi_lpd.files import replacing
from wsi_lpd.overlay.check import PRECISION_PX, geometry_problems
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.geometry_text import DECIMALS, geometry_texts
from wsi_lpd.overlay.tracing.flat_rings import flat_rings
from wsi_lpd.overlay.tracing.trace import Outlined
from wsi_lpd.qupath.classes import name_problem
from wsi_lpd.threads import in_order
from wsi_lpd.types import Size

logger = logging.getLogger(__name__)

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/wsi-lpd/wsi-lpd/overlay")
_FEATURES_AT_ONCE: Final = 512
_THREADS: Final = 2
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True)
class Feature:
    """One QuPath annotation.

    Attributes:
        geometry: Shapely Polygon or MultiPolygon in level-0 pixels of the overlay.
        tissue_class: Its class with the colour.
        measurements: Numbers shown in QuPath's table; those that are not finite are left out.
    """

    geometry: Any
    tissue_class: TissueClass
    measurements: Mapping[str, float] = field(default_factory=dict)


def region_features(
    regions: Outlined,
    classes: Sequence[TissueClass],
    *,
    measurements: Sequence[Mapping[str, float]] | None = None,
) -> list[Feature]:
    """Makes one feature per region.

    Args:
        regions: Polygons in level-0 pixels (traced with a `frame`); merged ones give one feature per class.
        classes: `classes[i]` has the label i + 1.
        measurements: Of each region.
    """
    numbers = [{}] * len(regions) if measurements is None else measurements
    return [
        Feature(polygon, classes[int(label) - 1], values)
        for polygon, label, values in zip(regions.polygons, regions.labels, numbers, strict=True)
    ]


def place_metadata(*, slide_px: Size, frame: GridFrame, classes: Sequence[TissueClass]) -> dict[str, str]:
    """What a reader of the overlay needs to draw it on a grid again; `write_overlay` takes it among its metadata.

    Args:
        slide_px: Size of the slide at level 0 (all of it, whatever its bounds).
        frame: Frame of the label map that was traced.
        classes: `classes[i]` has the label i + 1; those without any region are worth knowing too.
    """
    return {
        "slide_width_px": str(slide_px.width),
        "slide_height_px": str(slide_px.height),
        "offset_x_px": str(frame.offset_x),
        "offset_y_px": str(frame.offset_y),
        "downsample_x": repr(float(frame.downsample_x)),
        "downsample_y": repr(float(frame.downsample_y)),
        "classes": json.dumps([tissue_class.name for tissue_class in classes], ensure_ascii=False),
    }


def write_overlay(
    path: Path, features: Iterable[Feature], *, slide: str = "", metadata: Mapping[str, str] | None = None
) -> int:
    """Writes a FeatureCollection, `.geojson` or `.geojson.gz`; `path` is replaced only when all of it is good.

    Every geometry is checked by QuPath's rules. One that fails is repaired, and the log says so; one of which
    nothing is left is dropped, and the log says that too.

    Args:
        path: The file; its folder is made.
        features: Any iterable; it is consumed in batches, so a generator never lies in memory as a whole.
        slide: Name or fingerprint of the slide. Ids are made from it, the class and the outline: the same result
            gets the same ids again.
        metadata: Provenance, kept as `metadata` of the collection (QuPath passes over it, `load_overlay` reads it).

    Returns:
        How many features were written.

    Raises:
        OverlayError: If the file name is not one that QuPath reads, a class name is not one it takes, or a geometry
            cannot be repaired.
    """
    if not path.name.lower().endswith((".geojson", ".geojson.gz")):
        raise OverlayError(f"{path}: QuPath reads an overlay only as .geojson or .geojson.gz; rename the output")
    n_written = 0
    digests: set[bytes] = set()
    with replacing(path) as temporary, _opened(temporary) as stream:
        stream.write(b'{"type":"FeatureCollection",' + _metadata_text(metadata) + b'"features":[')
        with closing(in_order(partial(_lines, slide=slide), _batches(features), threads=_THREADS)) as batches:
            for lines in batches:
                texts = [line.with_own_id(digests) for line in lines]
                stream.write((b",\n" if n_written and texts else b"\n"[: len(texts)]) + b",\n".join(texts))
                n_written += len(texts)
        stream.write(b"\n]}\n")
    return n_written


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as raw:
        if path.name.lower().endswith(".gz"):
            # No name and no time in the header: the same overlay gives the same bytes.
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed:
                yield packed  # type: ignore[misc]
        else:
            yield raw


def _metadata_text(metadata: Mapping[str, str] | None) -> bytes:
    if not metadata:
        return b""
    return b'"metadata":' + _json({str(key): str(value) for key, value in metadata.items()}) + b","


def _json(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


def _batches(features: Iterable[Feature]) -> Iterator[list[Feature]]:
    iterator = iter(features)
    while batch := list(islice(iterator, _FEATURES_AT_ONCE)):
        yield batch


class _Line(NamedTuple):
    """One feature as text."""

    digest: bytes
    """What its id is made of."""
    name: bytes
    """What the digest is of."""
    text: bytes

    def with_own_id(self, digests: set[bytes]) -> bytes:
        """The text, with an id whose digest is not among `digests`, which is told of it."""
        digest, copy = self.digest, 1
        while digest in digests:  # the same outline and class twice: QuPath wants an id of its own for each
            copy += 1
            digest = _digest(self.name + b"\n%d" % copy)
        digests.add(digest)
        return self.text if copy == 1 else self.text.replace(_uuid_text(self.digest), _uuid_text(digest), 1)


def _digest(name: bytes) -> bytes:
    """The 16 bytes that `uuid.uuid5` makes an id of."""
    return hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16]


def _uuid_text(digest: bytes) -> bytes:
    """A digest as UUID of version 5 (RFC 9562, 5.5); `str(uuid.UUID(...))` takes five times as long."""
    marked = bytearray(digest)
    marked[6] = 0x50 | marked[6] & 0x0F
    marked[8] = 0x80 | marked[8] & 0x3F
    text = binascii.hexlify(marked)
    return b"-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _lines(batch: list[Feature], *, slide: str) -> list[_Line]:
    lines = []
    for feature, outline in _with_texts(batch):
        name = f"{slide}\n{feature.tissue_class.name}\n".encode() + outline
        digest = _digest(name)
        parts = (
            b'{"type":"Feature","id":"', _uuid_text(digest), b'","geometry":', outline,
            b',"properties":', _properties(feature), b"}",
        )  # fmt: skip
        lines.append(_Line(digest, name, b"".join(parts)))
    return lines


def _with_texts(batch: list[Feature]) -> Iterator[tuple[Feature, bytes]]:
    """The features whose geometries QuPath takes, with these as text; what is repaired or left out is logged."""
    geometries = np.array([feature.geometry for feature in batch], dtype=object)
    rings = flat_rings(geometries)
    if not rings.are_whole:
        geometries = shapely.transform(geometries, lambda xy: np.round(xy, DECIMALS))
        rings = flat_rings(geometries)
    problems = geometry_problems(geometries, rings)
    if any(problems):
        mended = [
            geometry if problem is None else _repaired(geometry, feature.tissue_class.name, problem)
            for feature, geometry, problem in zip(batch, geometries, problems, strict=True)
        ]
        batch = [feature for feature, geometry in zip(batch, mended, strict=True) if geometry is not None]
        rings = flat_rings(np.array([geometry for geometry in mended if geometry is not None], dtype=object))
    return zip(batch, geometry_texts(rings), strict=True)


def _properties(feature: Feature) -> bytes:
    name, color = feature.tissue_class
    properties = _class_properties(name, tuple(color))
    numbers = {key: float(value) for key, value in feature.measurements.items() if math.isfinite(value)}
    return properties + (b',"measurements":' + _json(numbers) if numbers else b"") + b"}"


@lru_cache(maxsize=256)
def _class_properties(name: str, color: tuple[int, ...]) -> bytes:
    """The object that all features of a class have, without its end."""
    if (problem := name_problem(name)) is not None:
        raise OverlayError(f"class {problem}")
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": name,
        "classification": {"name": name, "color": [int(value) for value in color]},
    }
    return _json(properties)[:-1]


def _repaired(geometry: Any, class_name: str, problem: str) -> Any:
    """A valid geometry near `geometry`, or None if nothing of it is left."""
    left, top = geometry.bounds[:2] if not geometry.is_empty else (math.nan, math.nan)
    where = f"region of {class_name} at ({left:.0f}, {top:.0f}), area {geometry.area:.6g} px"
    advice = "please report this with the label map"
    try:
        mended = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
        mended = shapely.set_precision(mended, PRECISION_PX)
    except shapely.errors.GEOSException as err:
        raise OverlayError(f"{where}: {problem}; it cannot be repaired ({err}); {advice}") from err
    parts = [part for part in shapely.get_parts(mended) if part.geom_type == "Polygon" and part.area > 0]
    if not parts:
        logger.warning("%s: %s; nothing of it is left, so it is not in the overlay", where, problem)
        return None
    mended = shapely.transform(shapely.MultiPolygon(parts), lambda xy: np.round(xy, DECIMALS))
    if (still := geometry_problems([mended])[0]) is not None:
        raise OverlayError(f"{where}: {problem}; repaired, it still {still}; {advice}")
    logger.warning("%s: %s; repaired, area is now %.6g px", where, problem, mended.area)
    return mended
