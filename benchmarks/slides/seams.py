"""How much the window grid shows: labels that change when it is shifted, and label changes across window borders.

    python -m benchmarks.slides.seams demo/slides/held-out.svs --model demo/runs/demo

Prints, for shifts of a half, a third, a quarter and an eighth of a window, the share of tissue pixels whose label
changes; and how often neighbouring tissue pixels differ across a window border, divided by how often they differ
elsewhere. At an overlap of 0.5 a shift by half a window gives the same grid again, except at the slide's edges, so the
other shifts say more: most of all the third, which is not a whole number of the network's cells.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.measuring import parser_of
from wsi_lpd.config import SegmentConfig
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.saved.runs import find_run
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.segmentation.plan import MapPlan, plan_map
from wsi_lpd.segmentation.segmenter import segment_slide
from wsi_lpd.segmentation.slide_map import tissue_to_segment
from wsi_lpd.slide import Slide, TissueMask, find_tissue, open_slide


def main() -> None:
    """Measures and prints one JSON object."""
    parser = parser_of(__doc__)
    parser.add_argument("slide", type=Path, help="to segment five times")
    parser.add_argument("--model", type=Path, help="run folder; the latest run unless it is given")
    options = parser.parse_args()
    predictor = Predictor.load(find_run(options.model), choose_device("auto"))
    config = predictor.card.config.segment
    with open_slide(options.slide) as slide:
        tissue = tissue_to_segment(slide, find_tissue(slide, config.tissue), predictor, config)
        plan, plain = labels_of(slide, tissue, predictor, config)
        grid, stride = plan.grid, plan.stride
        changed = {}
        for name, share in (("half", 2), ("third", 3), ("quarter", 4), ("eighth", 8)):
            shifted = config.model_copy(update={"grid_offset_px": grid.window_px // share})
            _, other = labels_of(slide, tissue, predictor, shifted)
            seen = (plain > 0) | (other > 0)
            changed[name] = round(float((plain != other)[seen].mean()), 5)
    period = grid.stride_px // stride
    ratios = [border_ratio(plain, period, phase) for phase in range(period)]
    border = {"at_borders": ratios[0], "elsewhere_from": min(ratios[1:]), "elsewhere_to": max(ratios[1:])}
    print(json.dumps({"window_px": grid.window_px, "stride_px": grid.stride_px, "changed": changed, "border": border}))


def labels_of(
    slide: Slide, tissue: TissueMask, predictor: Predictor, config: SegmentConfig
) -> tuple[MapPlan, np.ndarray]:
    """Plan and label map (H, W) of a slide."""
    plan = plan_map(slide, tissue, predictor, config)
    strips = segment_slide(slide, tissue, predictor, config, plan=plan)
    return plan, np.concatenate([strip.labels for strip in strips])


def border_ratio(labels: np.ndarray, period: int, phase: int) -> float:
    """How often neighbours differ across every `period`-th line, divided by how often across the other lines.

    Rows and columns together. Windows begin and end at phase 0 only: how far the other phases are from 1 shows how much
    of a ratio is chance, since outlines follow a line for long stretches.
    """
    differs, pairs = np.zeros(2), np.zeros(2)
    for lines in (labels, labels.T):
        both = (lines[:, 1:] > 0) & (lines[:, :-1] > 0)
        changes = (lines[:, 1:] != lines[:, :-1]) & both
        on_line = np.arange(1, lines.shape[1]) % period == phase
        for i, chosen in enumerate((on_line, ~on_line)):
            differs[i] += changes[:, chosen].sum()
            pairs[i] += both[:, chosen].sum()
    share = differs / pairs
    return round(float(share[0] / share[1]), 4)


if __name__ == "__main__":
    main()
