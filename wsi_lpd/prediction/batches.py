"""The maps of a batch of windows."""

from __future__ import annotations

from wsi_lpd.config import SegmentConfig
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.prediction.stitch import WindowMaps
from wsi_lpd.prediction.windows import Batch, Place

WindowPredictions = list[tuple[Place, WindowMaps]]
"""The maps of each window of a batch; places in map pixels."""


def predict_batch(batch: Batch, predictor: Predictor, config: SegmentConfig, *, stride: int) -> WindowPredictions:
    """The maps of a batch of windows."""
    maps = predictor.predict(batch.pixels, output_stride=stride, views=config.views, refinement=config.refine)
    places = (Place(left // stride, top // stride) for left, top in batch.places)
    return list(zip(places, maps, strict=True))
