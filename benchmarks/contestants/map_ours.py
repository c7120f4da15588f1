"""Our way from a label map to a GeoJSON file.

python -m benchmarks.contestants.map_ours MAP.npy OUT.geojson TOLERANCE
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wsi_lpd.classes import QUPATH_CLASSES
from wsi_lpd.overlay.geojson import region_features, write_overlay
from wsi_lpd.overlay.raster.strips import NO_PROTOTYPE, Strip, recut
from wsi_lpd.overlay.stream import STRIP_PX
from wsi_lpd.overlay.tracing.outlines import Outline, trace_strips
from wsi_lpd.types import UInt8Array

STRIP_ROWS = 128


def main() -> None:
    """Prints one line of JSON."""
    source, out, tolerance = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    labels = np.load(source)

    started = time.perf_counter()
    batches = trace_strips(recut(_strips(labels), STRIP_PX // labels.shape[1]), outline=Outline(tolerance))
    features = (feature for batch in batches for feature in region_features(batch, QUPATH_CLASSES))
    n_features = write_overlay(out, features)
    print(json.dumps({"loop_s": time.perf_counter() - started, "features": n_features}))


def _strips(labels: UInt8Array) -> Iterator[Strip]:
    """The map in strips, as `segment` has them, but without probabilities: the others measure no regions either."""
    for top in range(0, len(labels), STRIP_ROWS):
        rows = labels[top : top + STRIP_ROWS]
        yield Strip(rows, np.empty((0, *rows.shape), np.uint8), np.full_like(rows, NO_PROTOTYPE))


if __name__ == "__main__":
    main()
