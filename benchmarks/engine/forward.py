"""The floor of segmenting: nothing but forward passes, over the very windows that `segment` looks at.

    python forward.py RUN SLIDE OVERLAP BATCH yes|no

Windows lie in memory before the clock starts; inside it a batch becomes floats and goes through the network. With `no`
batches come one after another, and torch has all its threads for each, as it does by itself; with `yes` as many batches
as it has threads are looked at together, with one thread each. Other layouts of memory (channels last) change nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from wsi_lpd.config import load_config
from wsi_lpd.models.engine import OpenVinoEncoder
from wsi_lpd.models.saved.load import load_network
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.prediction.windows import Batch, in_batches
from wsi_lpd.segmentation.bands import BandReader
from wsi_lpd.segmentation.plan import plan_map
from wsi_lpd.segmentation.slide_map import tissue_to_segment
from wsi_lpd.slide import find_tissue, open_slide

WARM_UP = 2


def main() -> None:
    """Prints one line of JSON."""
    run, path, overlap, batch, way = sys.argv[1:]
    settings = load_config(None, [f"segment.overlap={overlap}", f"segment.batch_size={batch}"]).segment
    network, card = load_network(Path(run))
    if way == "openvino":
        encoder = OpenVinoEncoder(network.encoder, at_once=torch.get_num_threads(), strict=True)
        network = network.with_encoder(encoder)
    predictor = Predictor(network, card, torch.device("cpu"))
    with open_slide(path) as slide:
        tissue = tissue_to_segment(slide, find_tissue(slide, settings.tissue), predictor, settings)
        plan = plan_map(slide, tissue, predictor, settings)
        with BandReader(slide, plan.grid, plan.columns_of_rows, threads=2) as reader:
            batches = list(in_batches(plan.places, plan.batch_size, window_px=plan.grid.window_px, cut=reader.cut))

    @torch.inference_mode()
    def look(windows: Batch) -> None:
        network(torch.from_numpy(windows.pixels).permute(0, 3, 1, 2).float() / 255)

    seconds = _one_after_another(look, batches) if way == "alone" else _at_once(look, batches)
    print(json.dumps({"loop_s": seconds, "n": len(plan.places), "step_px": plan.grid.stride_px}))


def _one_after_another(look: Callable[[Batch], None], batches: Sequence[Batch]) -> float:
    """Seconds for all batches."""
    for windows in batches[:WARM_UP]:
        look(windows)
    started = time.perf_counter()
    for windows in batches:
        look(windows)
    return time.perf_counter() - started


def _at_once(look: Callable[[Batch], None], batches: Sequence[Batch]) -> float:
    """Seconds for all batches."""
    n_threads = torch.get_num_threads()
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(look, batches[: WARM_UP * n_threads]))
        started = time.perf_counter()
        list(pool.map(look, batches))
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
