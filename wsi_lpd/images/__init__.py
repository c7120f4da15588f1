"""Picture files and arrays of pixels; nothing here knows of slides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.images.files import IMAGE_SUFFIXES, image_size, read_image, read_index_mask
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "files": ["IMAGE_SUFFIXES", "image_size", "read_image", "read_index_mask"],
        },
    )

__all__ = ["IMAGE_SUFFIXES", "image_size", "read_image", "read_index_mask"]
