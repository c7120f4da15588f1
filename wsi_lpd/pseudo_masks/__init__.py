"""From a trained model and the labels of its training patches to pseudo masks; the second stage learns from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.pseudo_masks.job import MaskSummary, make_masks
    from wsi_lpd.pseudo_masks.maker import MaskMaker
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "job": ["MaskSummary", "make_masks"],
            "maker": ["MaskMaker"],
        },
    )

__all__ = ["MaskMaker", "MaskSummary", "make_masks"]
