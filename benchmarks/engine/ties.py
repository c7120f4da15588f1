"""Whether the size of a batch changes labels: of how many pixels, and how close to a tie these were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.engine.models import random_run
from benchmarks.engine.place import Place
from benchmarks.measuring import table
from wsi_lpd.config import load_config
from wsi_lpd.models.saved.load import load_network
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.segmentation.plan import plan_map
from wsi_lpd.segmentation.segmenter import segment_slide
from wsi_lpd.segmentation.slide_map import tissue_to_segment
from wsi_lpd.slide import find_tissue, open_slide
from wsi_lpd.types import UInt8Array

ENCODERS = ("regnety_002", "pvt_v2_b0")
PLAIN = 8
WAYS = (("torch", 1), ("torch", 5), ("torch", 32), ("openvino", 8), ("openvino", 5))
SIZE = "8192x6144"


def ties_tables(place: Place) -> list[str]:
    """One table."""
    slide = place.slide(size=SIZE)
    rows: list[Sequence[object]] = []
    for encoder in ENCODERS:
        model = random_run(place.out / "models" / encoder, encoder, slide)
        labels, _ = _map(model, slide, PLAIN, "torch")
        for engine, batch in WAYS:
            others, lead = _map(model, slide, batch, engine)
            changed = others != labels
            tissue = int((labels > 0).sum())
            largest = int(lead[changed].max()) if changed.any() else 0
            rows.append((encoder, f"{engine}, {batch}", tissue, int(changed.sum()), f"{largest} / 255"))
    against = f"labels other than torch's, {PLAIN}"
    columns = ("encoder", "engine, windows per batch", "pixels of tissue", against, "largest lead of one of these")
    return [table(columns, rows)]


def _map(model: Path, path: Path, batch: int, engine: str) -> tuple[UInt8Array, UInt8Array]:
    """Labels of the map, and by how much the likeliest value leads the next (of 255), both (H, W)."""
    network, card = load_network(model)
    predictor = Predictor(network, card, torch.device("cpu"))
    if engine == "openvino":
        predictor = predictor.with_openvino(strict=True)
    settings = load_config(None, [f"segment.batch_size={batch}"]).segment
    with open_slide(path) as slide:
        tissue = tissue_to_segment(slide, find_tissue(slide, settings.tissue), predictor, settings)
        plan = plan_map(slide, tissue, predictor, settings)
        strips = list(segment_slide(slide, tissue, predictor, settings, plan=plan))
    labels = np.concatenate([strip.labels for strip in strips])
    ordered = np.sort(np.concatenate([strip.probabilities for strip in strips], axis=1), axis=0)
    return labels, ordered[-1] - ordered[-2]
