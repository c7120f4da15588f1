"""A start for the encoder from patches without labels: VICReg, and the weights it leaves for `train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.pretraining.run import pretrain
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "run": ["pretrain"],
        },
    )

__all__ = ["pretrain"]
