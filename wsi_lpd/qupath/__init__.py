"""GeoJSON as QuPath reads and writes it: one reader, one rule for classes, one for the frame, whoever asks.

Labels, tissue masks, evaluation and the Python interface all read files through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.qupath.classes import base_class, kind_of, name_problem
    from wsi_lpd.qupath.frame import offset_of
    from wsi_lpd.qupath.read import Annotation, OverlayFile, load_overlay
    from wsi_lpd.qupath.regions import Region, Regions, read_regions, visible
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "classes": ["base_class", "kind_of", "name_problem"],
            "frame": ["offset_of"],
            "read": ["Annotation", "OverlayFile", "load_overlay"],
            "regions": ["Region", "Regions", "read_regions", "visible"],
        },
    )

__all__ = [
    "Annotation",
    "OverlayFile",
    "Region",
    "Regions",
    "base_class",
    "kind_of",
    "load_overlay",
    "name_problem",
    "offset_of",
    "read_regions",
    "visible",
]
