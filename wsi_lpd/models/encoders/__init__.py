"""Encoders by name: building them with timm, finding and loading their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.models.encoders.blueprint import Blueprint
    from wsi_lpd.models.encoders.build import Encoder, build_encoder
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "blueprint": ["Blueprint"],
            "build": ["Encoder", "build_encoder"],
        },
    )

__all__ = ["Blueprint", "Encoder", "build_encoder"]
