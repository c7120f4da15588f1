"""From a slide to patches: which are kept, how they are read, and the `tile` job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.tiling.cluster import tile_slides
    from wsi_lpd.tiling.forecast import Forecast
    from wsi_lpd.tiling.grid import PatchGrid
    from wsi_lpd.tiling.job import TileJob
    from wsi_lpd.tiling.slide_task import LabelSource, SlideTask
    from wsi_lpd.tiling.tiler import TilingReport, tile_slide
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "cluster": ["tile_slides"],
            "forecast": ["Forecast"],
            "grid": ["PatchGrid"],
            "job": ["TileJob"],
            "slide_task": ["LabelSource", "SlideTask"],
            "tiler": ["TilingReport", "tile_slide"],
        },
    )

__all__ = ["Forecast", "LabelSource", "PatchGrid", "SlideTask", "TileJob", "TilingReport", "tile_slide", "tile_slides"]
