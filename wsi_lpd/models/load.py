"""The network of a finished run."""

from __future__ import annotations

from pathlib import Path

from wsi_lpd.models.card import ModelCard, load_card
from wsi_lpd.models.checkpoint import restore
from wsi_lpd.models.network import LpdNetwork, build_network


def load_network(run: Path) -> tuple[LpdNetwork, ModelCard]:
    """The network of a run folder with its weights, on the CPU in eval mode, and its card.

    Raises:
        ModelError: If the folder holds no complete model of a format this version reads.
    """
    card = load_card(run)
    config = card.config.model.model_copy(update={"weights": "none"})
    network = build_network(config, n_classes=len(card.classes), blueprint=card.blueprint())
    restore(network, run)
    return network.eval(), card
