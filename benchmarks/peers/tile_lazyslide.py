"""LazySlide's tiles into zarr, in its own environment.

python -m benchmarks.peers.tile_lazyslide SLIDE MPP PATCH_PX OUT
"""

from __future__ import annotations

import json
import sys
import time

import lazyslide as zs
from wsidata import open_wsi

from benchmarks.peers.zarr_sink import ZarrSink


def main() -> None:
    """Prints one line of JSON."""
    path, mpp, side, out = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    started = time.perf_counter()
    slide = open_wsi(path, store=None)
    zs.pp.find_tissues(slide)
    zs.pp.tile_tissues(slide, side, mpp=mpp, background_fraction=0.5)
    planned = time.perf_counter()
    sink = ZarrSink(out, len(slide["tiles"]), side)
    for tile in slide.iter.tile_images("tiles"):
        sink.add(tile.image)
    sink.flush()
    ended = time.perf_counter()
    print(json.dumps({"loop_s": ended - planned, "plan_s": planned - started, "n": sink.count}))


if __name__ == "__main__":
    main()
