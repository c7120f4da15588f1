"""The learning methods: what each asks of one and the same network, a package each.

`__init__` of a package declares the method (`wsi_lpd.config.method.MethodSpec`) and its settings, `loss` is its code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# The configuration reads the declarations; whoever comes here first must let it.
import wsi_lpd.config  # noqa: F401
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
