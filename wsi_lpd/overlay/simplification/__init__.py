"""Fewer vertices without gaps or overlaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.overlay.simplification.budget import outline_within
    from wsi_lpd.overlay.simplification.simplify import simplify_regions
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "budget": ["outline_within"],
            "simplify": ["simplify_regions"],
        },
    )

__all__ = ["outline_within", "simplify_regions"]
