"""Whether an exported file is right: coverage, holes, validity, and how it differs from the map when rasterised.

python -m benchmarks.contestants.map_judge MAP.npy FILE
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from wsi_lpd.overlay.raster.rasterize import rasterize


def main() -> None:
    """Prints one line of JSON."""
    labels, path = np.load(sys.argv[1]), Path(sys.argv[2])
    polygons, names = _polygons(json.loads(path.read_text(encoding="utf-8")))
    values = _values(polygons, names, labels)
    drawn = rasterize(polygons, values, labels.shape)
    areas = np.array([geometry for geometry in polygons if geometry.geom_type in ("Polygon", "MultiPolygon")])
    holes = int((shapely.get_num_interior_rings(shapely.get_parts(areas))).sum())
    print(
        json.dumps(
            {
                "polygons": len(areas),
                "vertices": int(shapely.get_num_coordinates(polygons).sum()),
                "holes": holes,
                "invalid": int((~shapely.is_valid(polygons)).sum()),
                "coverage_is_valid": bool(shapely.coverage_is_valid(areas)),
                "wrong_share": float((drawn != labels).mean()),
                "mb": path.stat().st_size / 1e6,
            }
        )
    )


def _polygons(document: Any) -> tuple[Any, list[str]]:
    features = document["features"] if isinstance(document, dict) else document
    geometries = np.empty(len(features), object)
    geometries[:] = [shape(feature["geometry"]) for feature in features]
    return geometries, [feature["properties"]["classification"]["name"] for feature in features]


def _values(polygons: Any, names: list[str], labels: Any) -> Any:
    """Label of each polygon: the one that most polygons of its name have at a point inside."""
    points = shapely.get_coordinates(shapely.point_on_surface(polygons))
    rows, columns = (np.minimum(np.floor(points[:, ::-1]).astype(int), np.array(labels.shape) - 1)).T
    votes: dict[str, Counter[int]] = {}
    for name, value in zip(names, labels[rows, columns].tolist(), strict=True):
        votes.setdefault(name, Counter())[value] += 1
    of_name = {name: counted.most_common(1)[0][0] for name, counted in votes.items()}
    return np.array([of_name[name] for name in names], np.uint8)


if __name__ == "__main__":
    main()
