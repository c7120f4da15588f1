"""From a label map to its outputs: exact polygons, QuPath GeoJSON, masks, pictures.

Import from the modules. A map that comes in strips: `strips`, `label_strips`, `sieve`, `stream` (the whole way to the
file), `outlines`, `budget`; `trace` traces each strip, `joined` joins its regions to those above (with `seam` and
`rings`). A map at hand: `trace`, `frame`, `simplify` (with `outline_rings` and `visvalingam`), `measure`, `geojson`.
And `check`, `rasterize`, `mask`, `draw`.
The room needs numpy, scipy and shapely; only `mask` and `draw` need image libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.overlay.check import geometry_problems
    from wsi_lpd.overlay.frame import GridFrame
    from wsi_lpd.overlay.geojson import write_overlay
    from wsi_lpd.overlay.stream import StreamedOverlay, write_streamed_overlay
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "check": ["geometry_problems"],
            "frame": ["GridFrame"],
            "geojson": ["write_overlay"],
            "stream": ["StreamedOverlay", "write_streamed_overlay"],
        },
    )

__all__ = [
    "GridFrame",
    "StreamedOverlay",
    "geometry_problems",
    "write_overlay",
    "write_streamed_overlay",
]
