"""From a configuration to a method."""

from __future__ import annotations

from collections.abc import Sequence

from wsi_lpd.config import Config
from wsi_lpd.methods.base import Method


def build_method(
    config: Config, class_names: Sequence[str], *, mask_weights: tuple[float, ...] = Method.mask_weights
) -> Method:
    """The method that `config.method` names; its preset is in the configuration already.

    Args:
        config: The configuration.
        class_names: In the order of the labels.
        mask_weights: Of the pseudo masks that a decoder learns from.
    """
    return config.spec.learning().from_config(config, class_names, mask_weights)
