"""Batches of patches, augmentation, the validation split, cached feature maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.training.data.batches import Batch, training_batches
    from wsi_lpd.training.data.features import FeatureCache
    from wsi_lpd.training.data.split import split_by_group
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "batches": ["Batch", "training_batches"],
            "features": ["FeatureCache"],
            "split": ["split_by_group"],
        },
    )

__all__ = ["Batch", "FeatureCache", "split_by_group", "training_batches"]
