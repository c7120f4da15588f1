"""Label map to exact polygons that share their borders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.overlay.tracing.joined import FinishedRegions
    from wsi_lpd.overlay.tracing.outlines import Outline, trace_strips
    from wsi_lpd.overlay.tracing.trace import Regions, trace_regions
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "joined": ["FinishedRegions"],
            "outlines": ["Outline", "trace_strips"],
            "trace": ["Regions", "trace_regions"],
        },
    )

__all__ = ["FinishedRegions", "Outline", "Regions", "trace_regions", "trace_strips"]
