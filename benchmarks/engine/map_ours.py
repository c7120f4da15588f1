"""Our way from a label map to a GeoJSON file.

python map_ours.py MAP.npy OUT.geojson TOLERANCE
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wsi_lpd.classes import QUPATH_CLASSES
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.stream import write_streamed_overlay
from wsi_lpd.overlay.strips import Strip

STRIP_ROWS = 128


def main() -> None:
    """Prints one line of JSON."""
    source, out, tolerance = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    labels = np.load(source)

    def strips() -> Iterator[Strip]:
        yield from (Strip(labels[top : top + STRIP_ROWS]) for top in range(0, len(labels), STRIP_ROWS))

    started = time.perf_counter()
    done = write_streamed_overlay(
        out, strips, QUPATH_CLASSES[: labels.max()], frame=GridFrame(1, 1), tolerance_px=tolerance
    )
    print(json.dumps({"loop_s": time.perf_counter() - started, "features": done.n_features}))


if __name__ == "__main__":
    main()
