"""The learning methods: what each asks of one and the same network, a small module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.methods.base import Losses, Method, Place, Step
    from wsi_lpd.methods.choose import build_method
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "base": ["Losses", "Method", "Place", "Step"],
            "choose": ["build_method"],
        },
    )

__all__ = ["Losses", "Method", "Place", "Step", "build_method"]
