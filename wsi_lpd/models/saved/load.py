"""The network that a configuration describes, fresh or of a finished run."""

from __future__ import annotations

from pathlib import Path

from wsi_lpd.config import Config
from wsi_lpd.models.encoders.blueprint import Blueprint
from wsi_lpd.models.heads.decoder import build_decoder
from wsi_lpd.models.network import TissueNetwork, build_network
from wsi_lpd.models.saved.card import ModelCard, load_card
from wsi_lpd.models.saved.checkpoint import restore


def network_for(config: Config, *, n_classes: int, blueprint: Blueprint | None = None) -> TissueNetwork:
    """The network of the configured method; fresh but for the encoder's weights.

    Arguments are those of `build_network`.

    Raises:
        ModelError: If the encoder or its weights cannot be had.
    """
    if config.spec.learns_from_masks:
        return build_decoder(config, n_classes=n_classes, blueprint=blueprint)
    parts = config.spec.learning().parts
    return build_network(config.model, n_classes=n_classes, blueprint=blueprint, parts=parts)


def load_network(run: Path) -> tuple[TissueNetwork, ModelCard]:
    """The network of a run folder with its weights, on the CPU in eval mode, and its card.

    Raises:
        ModelError: If the folder holds no complete model of a format this version reads.
    """
    card = load_card(run)
    model = card.config.model.model_copy(update={"weights": "none"})
    config = card.config.model_copy(update={"model": model})
    network = network_for(config, n_classes=len(card.classes), blueprint=card.blueprint())
    restore(network, run)
    return network.eval(), card
