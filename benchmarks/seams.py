"""How much the window grid shows: labels that change when it is shifted, and label changes across window borders.

    python benchmarks/seams.py demo/slides/held-out.svs --model demo/runs/demo

Prints, for shifts of a half, a quarter and an eighth of a window, the share of tissue pixels whose label changes (at an
overlap of 0.5 a shift by half a window lays the same grid again, but for the slide's edges: the quarter tells more),
and how often neighbouring tissue pixels differ across a window border, divided by how often they differ elsewhere.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from wsi_lpd.models.device import choose_device
from wsi_lpd.models.runs import find_run
from wsi_lpd.segment.predictor import Predictor
from wsi_lpd.segment.segmenter import map_stride, segment_slide, window_grid
from wsi_lpd.slide import find_tissue, open_slide


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    predictor = Predictor.load(find_run(options.model), choose_device("auto"))
    config = predictor.card.config.segment
    with open_slide(options.slide) as slide:
        tissue = find_tissue(slide, config.tissue)
        plain = segment_slide(slide, tissue, predictor, config)
        stride = map_stride(slide, predictor, config)
        grid = window_grid(slide, predictor, config, stride)
        changed = {}
        for name, share in (("half", 2), ("quarter", 4), ("eighth", 8)):
            shifted = config.model_copy(update={"grid_offset_px": grid.window_px // share})
            other = segment_slide(slide, tissue, predictor, shifted)
            seen = (plain.labels > 0) | (other.labels > 0)
            changed[name] = round(float((plain.labels != other.labels)[seen].mean()), 5)
    borders = grid.stride_px // stride
    ratio = {
        "columns": border_ratio(plain.labels, borders),
        "rows": border_ratio(plain.labels.T, borders),
    }
    print(json.dumps({"window_px": grid.window_px, "stride_px": grid.stride_px, "changed": changed, "border": ratio}))


def border_ratio(labels: np.ndarray, period: int) -> float:
    """Share of differing neighbours across columns that are multiples of `period`, over the share elsewhere."""
    both = (labels[:, 1:] > 0) & (labels[:, :-1] > 0)
    differs = (labels[:, 1:] != labels[:, :-1]) & both
    is_border = np.arange(1, labels.shape[1]) % period == 0
    across = differs[:, is_border].sum() / both[:, is_border].sum()
    elsewhere = differs[:, ~is_border].sum() / both[:, ~is_border].sum()
    return round(float(across / elsewhere), 4)


if __name__ == "__main__":
    main()
