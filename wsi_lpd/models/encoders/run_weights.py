"""The encoder of a finished run as the start of another: what a second stage without published weights begins with."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from wsi_lpd.errors import ModelError
from wsi_lpd.models.encoders.weights import Weights
from wsi_lpd.models.saved.card import CARD_FILE, load_card
from wsi_lpd.models.saved.checkpoint import load_state
from wsi_lpd.models.saved.mismatch import weights_mismatch

_PREFIX = "encoder.body."


def named_run(weights: str) -> Path | None:
    """The run folder that `model.weights` names, or None where it names something else."""
    path = Path(weights).expanduser()
    return path if weights and (path / CARD_FILE).is_file() else None


def weights_of_run(run: Path) -> Weights:
    """What the model card of a run says of its encoder.

    Raises:
        ModelError: If the card cannot be read.
    """
    card = load_card(run)
    return Weights(
        f"run {run.resolve().name}, {card.method} (sha256:{card.weights_sha256}), which began with "
        f"{card.encoder.weights} weights",
        licence=card.encoder.licence,
        mean=card.mean,
        std=card.std,
    )


def load_encoder_of_run(body: nn.Module, run: Path, *, name: str) -> None:
    """Loads the encoder of a run into a timm network that is cut down to the scales in use.

    Raises:
        ModelError: If the run's encoder is another one, or was used at fewer scales.
    """
    card = load_card(run)
    if card.encoder.name != name:
        raise ModelError(
            f"model.weights: the run {run} has the encoder {card.encoder.name}, model.encoder is {name}; set "
            f"model.encoder={card.encoder.name}, or give other weights"
        )
    state = load_state(run)
    found = {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}
    expected = body.state_dict()
    problem = weights_mismatch(expected, {key: value for key, value in found.items() if key in expected})
    if problem is not None:
        scales = list(card.encoder.scales)
        raise ModelError(
            f"model.weights: the encoder of {run} was used at model.scales={scales} and does not fit this one: "
            f"{problem}. Set model.scales={scales}, or give other weights"
        )
    body.load_state_dict({key: value for key, value in found.items() if key in expected})
