"""The loop that everybody writes: one read per patch, scaled, into zarr.

python -m benchmarks.contestants.tile_loop openslide|tiffslide SLIDE COORDS.npz OUT
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import cv2
import numpy as np

from benchmarks.peers.zarr_sink import ZarrSink


def main() -> None:
    """Prints one line of JSON."""
    library, path, coords_file, out = sys.argv[1:]
    places = np.load(coords_file)
    coords, side, patch_px = places["coords"], int(places["side"]), int(places["patch_px"])
    slide = _opened(library, path)
    level = slide.get_best_level_for_downsample(side / patch_px * 1.01)
    read_px = round(side / slide.level_downsamples[level])
    started = time.perf_counter()
    sink = ZarrSink(out, len(coords), patch_px)
    for x, y in coords.tolist():
        pixels = np.asarray(slide.read_region((x, y), level, (read_px, read_px)).convert("RGB"))
        sink.add(cv2.resize(pixels, (patch_px, patch_px), interpolation=cv2.INTER_AREA))
    sink.flush()
    print(json.dumps({"loop_s": time.perf_counter() - started, "n": sink.count}))


def _opened(library: str, path: str) -> Any:
    if library == "openslide":
        import openslide

        return openslide.OpenSlide(path)
    import tiffslide

    return tiffslide.TiffSlide(path)


if __name__ == "__main__":
    main()
