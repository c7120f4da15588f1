"""The zarr stores on disk: patches, pseudo masks, cached feature maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.stores.masks import MaskStore
    from wsi_lpd.stores.masks_writer import MaskWriter
    from wsi_lpd.stores.patches import PatchStore
    from wsi_lpd.stores.patches_meta import SlideIdentity, StoreMeta
    from wsi_lpd.stores.patches_writer import StoreWriter
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "masks": ["MaskStore"],
            "masks_writer": ["MaskWriter"],
            "patches": ["PatchStore"],
            "patches_meta": ["SlideIdentity", "StoreMeta"],
            "patches_writer": ["StoreWriter"],
        },
    )

__all__ = ["MaskStore", "MaskWriter", "PatchStore", "SlideIdentity", "StoreMeta", "StoreWriter"]
