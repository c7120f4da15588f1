"""Label map to overlay: time, peak memory and vertices of the whole map at once and of strips.

    python benchmarks/overlay.py --tiles 2 8 --strip-rows 256 512

The map is one tile of blobs of some 30 px, repeated downward; each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

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
    rng = np.random.default_rng(3)
    fields = [
        ndimage.gaussian_filter(rng.standard_normal((SIDE_PX, SIDE_PX), np.float32), 6, mode="wrap")
        for _ in range(N_CLASSES + 1)
    ]
    labels = np.argmax(fields, axis=0).astype(np.uint8)
    probabilities = rng.integers(0, 256, (N_CLASSES + 1, SIDE_PX, SIDE_PX), np.uint8)
    return Strip(labels, probabilities, rng.integers(0, 8, labels.shape, np.uint8))


def case(n_tiles: int, strip_rows: int) -> None:
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
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    error = max(done.area_errors.values())
    print(
        f"| {n_tiles * SIDE_PX} | {strip_rows or 'all'} | {seconds:.1f} | {peak_mb} | {done.n_features} "
        f"| {done.n_vertices} | {error:.2%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--strip-rows", type=int, nargs="+", default=[128, 256, 512, 1024, 0], help="0 = all rows")
    parser.add_argument("--one", action="store_true", help="run the one case that is given in this process")
    given = parser.parse_args()
    if given.one:
        case(given.tiles[0], given.strip_rows[0])
        return
    print(
        "| map rows | strip rows | seconds | peak MB | regions | vertices | area error |\n|---|---|---|---|---|---|---|"
    )
    for n_tiles in given.tiles:
        for rows in given.strip_rows:
            options = ["--one", "--tiles", str(n_tiles), "--strip-rows", str(rows)]
            print(
                subprocess.run([sys.executable, __file__, *options], check=True, text=True, capture_output=True).stdout,
                end="",
            )


if __name__ == "__main__":
    main()
