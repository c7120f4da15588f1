"""The functions of `import wsi_lpd`, which the command line is a thin layer on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.api.evaluating import EvaluationResult, evaluate
    from wsi_lpd.api.model import Model, Prediction, load_model
    from wsi_lpd.api.overlay import Overlay, read_overlay
    from wsi_lpd.api.segmenting import SegmentResult, segment
    from wsi_lpd.api.slides import open_slide
    from wsi_lpd.api.tiling import TileResult, tile
    from wsi_lpd.api.training import train
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "evaluating": ["EvaluationResult", "evaluate"],
            "model": ["Model", "Prediction", "load_model"],
            "overlay": ["Overlay", "read_overlay"],
            "segmenting": ["SegmentResult", "segment"],
            "slides": ["open_slide"],
            "tiling": ["TileResult", "tile"],
            "training": ["train"],
        },
    )

__all__ = [
    "EvaluationResult",
    "Model",
    "Overlay",
    "Prediction",
    "SegmentResult",
    "TileResult",
    "evaluate",
    "load_model",
    "open_slide",
    "read_overlay",
    "segment",
    "tile",
    "train",
]
