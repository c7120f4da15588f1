"""histolab's GridTiler (it writes PNG files), in its own environment.

python -m benchmarks.peers.tile_histolab SLIDE MPP PATCH_PX OUT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from histolab.masks import TissueMask
from histolab.slide import Slide
from histolab.tiler import GridTiler


def main() -> None:
    """Prints one line of JSON."""
    path, mpp, side, out = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    out.mkdir(parents=True, exist_ok=True)
    slide = Slide(path, processed_path=str(out), use_largeimage=True)
    tiler = GridTiler(tile_size=(side, side), mpp=mpp, check_tissue=True, tissue_percent=50.0, suffix=".png")
    started = time.perf_counter()
    tiler.extract(slide, extraction_mask=TissueMask())
    seconds = time.perf_counter() - started
    print(json.dumps({"loop_s": seconds, "n": len(list(out.rglob("*.png")))}))


if __name__ == "__main__":
    main()
