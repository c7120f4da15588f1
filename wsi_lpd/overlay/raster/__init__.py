"""Label maps as pixels: OME-TIFF masks, pictures, sieving, rasterisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.overlay.raster.draw import draw_overlay, write_picture
    from wsi_lpd.overlay.raster.label_strips import LabelStrips
    from wsi_lpd.overlay.raster.mask import Mask, read_mask, write_mask
    from wsi_lpd.overlay.raster.strips import Strip
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "draw": ["draw_overlay", "write_picture"],
            "label_strips": ["LabelStrips"],
            "mask": ["Mask", "read_mask", "write_mask"],
            "strips": ["Strip"],
        },
    )

__all__ = ["LabelStrips", "Mask", "Strip", "draw_overlay", "read_mask", "write_mask", "write_picture"]
