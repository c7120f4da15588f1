"""The floor of segmenting: nothing but forward passes, over the windows that `segment` predicts.

    python -m benchmarks.contestants.forward RUN SLIDE OVERLAP BATCH alone|together|openvino

Windows are in memory before the clock starts; within it, each batch becomes floats and goes through the network. With
`alone`, batches follow one another and torch uses all its threads for each, as it does by default. With `together`, as
many batches as torch has threads run at once, one thread each; `openvino` does the same with OpenVINO as the engine.
Another memory layout (channels last) changes nothing.
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
    def forward(windows: Batch) -> None:
        network(torch.from_numpy(windows.pixels).permute(0, 3, 1, 2).float() / 255)

    seconds = _one_after_another(forward, batches) if way == "alone" else _at_once(forward, batches)
    print(json.dumps({"loop_s": seconds, "n": len(plan.places), "step_px": plan.grid.stride_px}))


def _one_after_another(forward: Callable[[Batch], None], batches: Sequence[Batch]) -> float:
    """Seconds for all batches."""
    for windows in batches[:WARM_UP]:
        forward(windows)
    started = time.perf_counter()
    for windows in batches:
        forward(windows)
    return time.perf_counter() - started


def _at_once(forward: Callable[[Batch], None], batches: Sequence[Batch]) -> float:
    """Seconds for all batches."""
    n_threads = torch.get_num_threads()
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(forward, batches[: WARM_UP * n_threads]))
        started = time.perf_counter()
        list(pool.map(forward, batches))
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
