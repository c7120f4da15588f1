"""From a slide and a predictor to the strips of a map: no label argument anywhere."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain

import numpy as np

from wsi_lpd.config import SegmentConfig
from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.prediction.batches import WindowPredictions, predict_batch
from wsi_lpd.prediction.passes import passes_at_once, shared_threads
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.prediction.stitch import stitched
from wsi_lpd.prediction.windows import in_batches
from wsi_lpd.progress import SILENT, Advance, Progress
from wsi_lpd.segmentation.bands import BandReader
from wsi_lpd.segmentation.decide import decide
from wsi_lpd.segmentation.plan import MapPlan
from wsi_lpd.slide import Slide, TissueMask
from wsi_lpd.threads import ahead, in_order, n_threads
from wsi_lpd.types import BoolArray


def segment_slide(
    slide: Slide,
    tissue: TissueMask,
    predictor: Predictor,
    config: SegmentConfig,
    *,
    plan: MapPlan,
    first: int = 0,
    end: int | None = None,
    progress: Progress = SILENT,
) -> Generator[Strip, None, None]:
    """Looks at every window with tissue and stitches what the network says into strips.

    Reading, network, and stitching work at the same time, a batch or a strip ahead, on processors in several passes at
    once; close the generator to end them. Strips are the same, bit by bit, whichever are asked for: windows
    are read and put together in batches at places that do not depend on it, and summed in the same order.

    Args:
        slide: An open slide.
        tissue: Outside it the map is background.
        predictor: The model.
        config: Views, refinement, gate.
        plan: From `plan_map` with the same slide, tissue, predictor and configuration.
        first: Index of the first strip that is wanted.
        end: Index after the last one; None for all that follow.
        progress: Told of every window.

    Raises:
        SlideError: If the slide cannot be read.
    """
    spans = [plan.strips.rows_of(i) for i in range(first, len(plan.strips) if end is None else end)]
    if not spans:
        return
    start = plan.first_batch(spans[0][0])
    places = plan.places[start : plan.end_of_batches(spans[-1][1])]
    side, at_once = plan.grid.window_px, passes_at_once(predictor.device)
    gated = predictor.gates(config.gate)
    predict = partial(predict_batch, predictor=predictor, config=config, stride=plan.stride)
    with (
        shared_threads(at_once),
        progress.stage(f"segmenting {slide.name}", len(plan.places), "windows") as advance,
        BandReader(slide, plan.grid, plan.columns_of_rows, threads=n_threads()) as reader,
        closing(ahead(in_batches(places, plan.batch_size, window_px=side, cut=reader.cut))) as batches,
        closing(ahead(in_order(predict, batches, threads=at_once))) as predictions,
        closing(ahead(_decided(_counted(predictions, advance), spans, tissue, plan, gated=gated), depth=1)) as strips,
    ):
        advance(start)
        yield from strips


def _counted(predictions: Iterable[WindowPredictions], advance: Advance) -> Iterator[WindowPredictions]:
    for batch in predictions:
        advance(len(batch))
        yield batch


def _decided(
    predictions: Iterable[WindowPredictions],
    spans: list[tuple[int, int]],
    tissue: TissueMask,
    plan: MapPlan,
    *,
    gated: bool,
) -> Iterator[Strip]:
    width = plan.strips.width
    windows = chain.from_iterable(predictions)
    for rows in stitched(windows, spans, n_classes=len(plan.classes), width=width, side=plan.side):
        there = _tissue_rows(tissue, rows.top, rows.top + len(rows.covered), width, plan.downsample)
        yield decide(rows, tissue=there, gated=gated)


def _tissue_rows(tissue: TissueMask, first: int, last: int, width: int, downsample: float) -> BoolArray:
    """The tissue mask at the centres of map pixels, (rows, width)."""
    mask = tissue.mask
    y = ((np.arange(first, last) + 0.5) * downsample / tissue.downsample_y).astype(np.int64)
    x = ((np.arange(width) + 0.5) * downsample / tissue.downsample_x).astype(np.int64)
    rows: BoolArray = mask[np.minimum(y, mask.shape[0] - 1)[:, None], np.minimum(x, mask.shape[1] - 1)[None]]
    return rows
