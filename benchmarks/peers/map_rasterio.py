"""`rasterio.features.shapes` and `json`, as most scripts do it, in its own environment.

python -m benchmarks.peers.map_rasterio MAP.npy OUT.geojson
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path

import numpy as np
from rasterio.features import shapes


def main() -> None:
    """Prints one line of JSON."""
    labels = np.load(sys.argv[1])
    started = time.perf_counter()
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid4()),
            "geometry": geometry,
            "properties": {"objectType": "annotation", "classification": {"name": f"Class {int(value)}"}},
        }
        for geometry, value in shapes(labels, mask=labels > 0)
    ]
    Path(sys.argv[2]).write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    print(json.dumps({"loop_s": time.perf_counter() - started, "features": len(features)}))


if __name__ == "__main__":
    main()
