"""Where a slide holds tissue: detected on its thumbnail, or given by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.slide.tissue.mask import NotBrightFieldError, TissueMask, find_tissue
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "mask": ["NotBrightFieldError", "TissueMask", "find_tissue"],
        },
    )

__all__ = ["NotBrightFieldError", "TissueMask", "find_tissue"]
