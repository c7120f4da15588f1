"""Pure tensor functions, one loss each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.losses.classification import background_loss, classification_loss, exclusion_loss
    from wsi_lpd.losses.contrast import supervised_contrast
    from wsi_lpd.losses.diversity import correlation_loss, diversity_loss, usage_loss
    from wsi_lpd.losses.noisy import pixel_loss
    from wsi_lpd.losses.pseudo import pseudo_loss
    from wsi_lpd.losses.published import published_diversity, published_refiner
    from wsi_lpd.losses.similarity import masked_average, similarity_loss
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "classification": ["background_loss", "classification_loss", "exclusion_loss"],
            "contrast": ["supervised_contrast"],
            "diversity": ["correlation_loss", "diversity_loss", "usage_loss"],
            "noisy": ["pixel_loss"],
            "pseudo": ["pseudo_loss"],
            "published": ["published_diversity", "published_refiner"],
            "similarity": ["masked_average", "similarity_loss"],
        },
    )

__all__ = [
    "background_loss",
    "classification_loss",
    "correlation_loss",
    "diversity_loss",
    "exclusion_loss",
    "masked_average",
    "pixel_loss",
    "pseudo_loss",
    "published_diversity",
    "published_refiner",
    "similarity_loss",
    "supervised_contrast",
    "usage_loss",
]
