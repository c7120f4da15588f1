"""The maps a model predicts for an image: windows, views, refinement, stitching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.prediction.images import ImageMaps, predict_image
    from wsi_lpd.prediction.predictor import Predictor
    from wsi_lpd.prediction.stitch import StitchedRows, stitched
    from wsi_lpd.prediction.windows import WindowGrid
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "images": ["ImageMaps", "predict_image"],
            "predictor": ["Predictor"],
            "stitch": ["StitchedRows", "stitched"],
            "windows": ["WindowGrid"],
        },
    )

__all__ = ["ImageMaps", "Predictor", "StitchedRows", "WindowGrid", "predict_image", "stitched"]
