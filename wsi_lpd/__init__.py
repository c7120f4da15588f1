"""Whole-slide tissue maps from image-level patch labels (learnable prototypes with diversity, LPD).

    import wsi_lpd as wl

    wl.tile("slides", "patches", classes="Tumor,Stroma")
    run = wl.train("patches/patches.csv")
    wl.segment("new.svs", "new.geojson", model=run.path)

Names are imported when they are first used, so importing the package is quick. `docs/api.md` has examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.api import evaluate, load_model, open_slide, read_overlay, segment, tile, train
    from wsi_lpd.errors import WsiLpdError
    from wsi_lpd.stores.patches import PatchStore
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "api": ["evaluate", "load_model", "open_slide", "read_overlay", "segment", "tile", "train"],
            "errors": ["WsiLpdError"],
            "stores.patches": ["PatchStore"],
        },
    )

__all__ = [
    "PatchStore",
    "WsiLpdError",
    "__version__",
    "evaluate",
    "load_model",
    "open_slide",
    "read_overlay",
    "segment",
    "tile",
    "train",
]

__version__ = "0.1.0"
