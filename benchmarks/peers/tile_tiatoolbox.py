"""TIAToolbox's patch extractor into zarr, in its own environment.

python -m benchmarks.peers.tile_tiatoolbox SLIDE MPP PATCH_PX OUT
"""

from __future__ import annotations

import json
import sys
import time

from tiatoolbox.tools.patchextraction import get_patch_extractor
from tiatoolbox.wsicore.wsireader import WSIReader

from benchmarks.peers.zarr_sink import ZarrSink


def main() -> None:
    """Prints one line of JSON."""
    path, mpp, side, out = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    reader = WSIReader.open(path)
    started = time.perf_counter()
    extractor = get_patch_extractor(
        "slidingwindow",
        input_img=reader,
        input_mask="morphological",
        patch_size=(side, side),
        stride=(side, side),
        resolution=mpp,
        units="mpp",
        min_mask_ratio=0.5,
        within_bound=True,
    )
    planned = time.perf_counter()
    sink = ZarrSink(out, len(extractor.coordinate_list), side)
    for patch in extractor:
        sink.add(patch)
    sink.flush()
    ended = time.perf_counter()
    print(json.dumps({"loop_s": ended - planned, "plan_s": planned - started, "n": sink.count}))


if __name__ == "__main__":
    main()
