"""From a label map to an overlay, in strips and at once: time, peak memory and vertices.

    python -m benchmarks.slides.overlay --tiles 2 8 --strip-rows 256 512

The map is one tile of blobs of some 30 px, repeated downwards. Each case runs in a process of its own.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.measuring import heading, module_command, parser_of, row, run
from wsi_lpd.classes import QUPATH_CLASSES
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.label_strips import of_height
from wsi_lpd.overlay.raster.sieve import sieved
from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.overlay.stream import write_streamed_overlay

SIDE_PX = 1024
N_CLASSES = 4
TOLERANCE_PX, MIN_AREA_PX = 1.0, 50


def tile() -> Strip:
    """Labels (S, S), probabilities (C + 1, S, S) and prototypes (S, S) of one tile."""
    rng = np.random.default_rng(3)
    fields = [
        ndimage.gaussian_filter(rng.standard_normal((SIDE_PX, SIDE_PX), np.float32), 6, mode="wrap")
        for _ in range(N_CLASSES + 1)
    ]
    labels = np.argmax(fields, axis=0).astype(np.uint8)
    probabilities = rng.integers(0, 256, (N_CLASSES + 1, SIDE_PX, SIDE_PX), np.uint8)
    return Strip(labels, probabilities, rng.integers(0, 8, labels.shape, np.uint8))


def case(n_tiles: int, strip_rows: int) -> None:
    """Writes the overlay of one map; prints one line of JSON."""
    one = tile()

    def strips() -> Iterator[Strip]:
        labels = sieved((one.labels for _ in range(n_tiles)), MIN_AREA_PX)
        yield from (one._replace(labels=rows) for rows in of_height(labels, SIDE_PX))

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = write_streamed_overlay(
            Path(folder) / "o.geojson",
            strips,
            QUPATH_CLASSES[:N_CLASSES],
            frame=GridFrame(4, 4),
            tolerance_px=TOLERANCE_PX,
            pixel_area_um2=0.25,
            strip_rows=strip_rows or n_tiles * SIDE_PX,
        )
    seconds = time.perf_counter() - started
    summary = {
        "seconds": seconds,
        "regions": done.n_features,
        "vertices": done.n_vertices,
        "area_error": max(done.area_errors.values()),
    }
    print(json.dumps(summary))


def main() -> None:
    """Prints one table."""
    parser = parser_of(__doc__)
    parser.add_argument("--tiles", type=int, nargs="+", default=[2, 8], help="height of the map, in tiles")
    parser.add_argument(
        "--strip-rows", type=int, nargs="+", default=[128, 256, 512, 1024, 0], help="0 for the whole map at once"
    )
    parser.add_argument("--one", action="store_true", help="run only the first case, in this process")
    options = parser.parse_args()
    if options.one:
        case(options.tiles[0], options.strip_rows[0])
        return
    print(heading(("map rows", "strip rows", "seconds", "peak MB", "regions", "vertices", "area error")))
    for n_tiles in options.tiles:
        for rows in options.strip_rows:
            print(_line(n_tiles, rows), flush=True)


def _line(n_tiles: int, rows: int) -> str:
    words = ("--one", "--tiles", str(n_tiles), "--strip-rows", str(rows))
    measured = run(module_command("slides.overlay", *words))
    summary, height = measured.summary, n_tiles * SIDE_PX
    seconds, error = f"{summary['seconds']:.1f}", f"{summary['area_error']:.2%}"
    peak_mb = f"{measured.peak_mb:.0f}"
    return row((height, rows or "all", seconds, peak_mb, summary["regions"], summary["vertices"], error))


if __name__ == "__main__":
    main()
