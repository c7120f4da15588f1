"""The floor of segmenting: nothing but forward passes, over the very windows that `segment` looks at.

    python forward.py RUN SLIDE OVERLAP BATCH

Windows lie in memory before the clock starts; inside it a batch becomes floats and goes through the network.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path

import torch

from wsi_lpd.config import load_config
from wsi_lpd.models.load import load_network
from wsi_lpd.segment.bands import BandReader
from wsi_lpd.segment.plan import plan_map
from wsi_lpd.segment.predictor import Predictor
from wsi_lpd.segment.windows import Batch, in_batches
from wsi_lpd.slide import find_tissue, open_slide

WARM_UP = 2


def main() -> None:
    """Prints one line of JSON."""
    run, path, overlap, batch = sys.argv[1:]
    settings = load_config(None, [f"segment.overlap={overlap}", f"segment.batch_size={batch}"]).segment
    network, card = load_network(Path(run))
    predictor = Predictor(network, card, torch.device("cpu"))
    with open_slide(path) as slide:
        plan = plan_map(slide, find_tissue(slide, settings.tissue), predictor, settings)
        with BandReader(slide, plan.grid, plan.columns_of_rows, threads=2) as reader:
            batches = list(in_batches(plan.places, settings.batch_size, window_px=plan.grid.window_px, cut=reader.cut))

    def look(windows: Batch) -> None:
        network(torch.from_numpy(windows.pixels).permute(0, 3, 1, 2).float() / 255)

    with torch.inference_mode():
        for windows in islice(batches, WARM_UP):
            look(windows)
        started = time.perf_counter()
        for windows in batches:
            look(windows)
    print(json.dumps({"loop_s": time.perf_counter() - started, "n": len(plan.places), "step_px": plan.grid.stride_px}))


if __name__ == "__main__":
    main()
