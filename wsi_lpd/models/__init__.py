"""Encoders, prototypes, the network and its checkpoint; nothing here opens a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.models.activation import label_probabilities, labels_of
    from wsi_lpd.models.device import choose_device
    from wsi_lpd.models.engine import OpenVinoEncoder
    from wsi_lpd.models.network import LpdNetwork, NetworkOutput, TissueNetwork, build_network
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "activation": ["label_probabilities", "labels_of"],
            "device": ["choose_device"],
            "engine": ["OpenVinoEncoder"],
            "network": ["LpdNetwork", "NetworkOutput", "TissueNetwork", "build_network"],
        },
    )

__all__ = [
    "LpdNetwork",
    "NetworkOutput",
    "OpenVinoEncoder",
    "TissueNetwork",
    "build_network",
    "choose_device",
    "label_probabilities",
    "labels_of",
]
