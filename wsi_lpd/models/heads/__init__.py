"""What turns features into class maps: prototypes, linear classifiers, decoders, adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.models.heads.adapter import Adapter
    from wsi_lpd.models.heads.decoder import build_decoder
    from wsi_lpd.models.heads.knowledge import KnowledgeAttention
    from wsi_lpd.models.heads.linear import LinearClassifier
    from wsi_lpd.models.heads.prototypes import Prototypes
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "adapter": ["Adapter"],
            "decoder": ["build_decoder"],
            "knowledge": ["KnowledgeAttention"],
            "linear": ["LinearClassifier"],
            "prototypes": ["Prototypes"],
        },
    )

__all__ = ["Adapter", "KnowledgeAttention", "LinearClassifier", "Prototypes", "build_decoder"]
