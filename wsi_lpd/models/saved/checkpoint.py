"""The model in a run folder: `model.safetensors`, and `model.json` that vouches for it.

The card is written last and holds the hash of the weights, so a folder with a card holds the whole model, and weights
that were swapped or damaged afterwards are noticed. Importing this module loads no torch; the functions that need
tensors import it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsi_lpd.errors import ModelError
from wsi_lpd.files import remove, replacing, write_text
from wsi_lpd.models.saved.card import CARD_FILE, Calibration, CardClass, EncoderCard, ModelCard, load_card
from wsi_lpd.models.saved.mismatch import weights_mismatch
from wsi_lpd.models.saved.runs import find_run, mark_latest

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "Calibration",
    "CardClass",
    "EncoderCard",
    "ModelCard",
    "find_run",
    "load_card",
    "load_state",
    "mark_latest",
    "restore",
    "save_model",
]

WEIGHTS_FILE: Final = "model.safetensors"


def save_model(folder: Path, state_dict: Mapping[str, Tensor], card: ModelCard) -> None:
    """Writes a model into a run folder, which is made if need be; an older model there is replaced.

    Args:
        folder: The run folder.
        state_dict: The network's tensors, on any device.
        card: Its card; `weights_sha256` is filled in here.
    """
    from safetensors.torch import save_file

    # The old card goes first: between the two writes the folder must look unfinished, not wrong.
    remove(folder / CARD_FILE)
    # Cloned because the format refuses tensors that share memory.
    tensors = {key: value.detach().cpu().clone().contiguous() for key, value in state_dict.items()}
    with replacing(folder / WEIGHTS_FILE) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    complete = card.model_copy(update={"weights_sha256": digest})
    write_text(folder / CARD_FILE, complete.model_dump_json(indent=1) + "\n")


def load_state(folder: Path) -> dict[str, Tensor]:
    """The tensors of a run folder, on the CPU, after their hash is checked against the card.

    Raises:
        ModelError: If they are missing, damaged, or not those the card was written for.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = load_card(folder)
    path = folder / WEIGHTS_FILE
    try:
        content = path.read_bytes()
    except OSError as err:
        raise ModelError(f"{path}: cannot be read ({err.strerror}); copy the run folder again or train again") from err
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.weights_sha256:
        raise ModelError(
            f"{path}: is not the file that {CARD_FILE} was written for ({len(content)} bytes, sha256 {digest[:12]}..., "
            f"expected {str(card.weights_sha256)[:12]}...). It is damaged, cut off or from another run: copy the whole "
            "run folder again or train again."
        )
    try:
        return load(content)
    except SafetensorError as err:
        raise ModelError(f"{path}: is no safetensors file ({err}); train again") from err


def restore(network: nn.Module, folder: Path) -> None:
    """Loads the tensors of a run folder into a network built from its card.

    Raises:
        ModelError: If they cannot be read, or do not fit (naming keys and shapes).
    """
    state = load_state(folder)
    problem = weights_mismatch(network.state_dict(), state)
    if problem is not None:
        raise ModelError(
            f"{folder / WEIGHTS_FILE}: does not fit the network of {CARD_FILE}: {problem}. Both must come from one run "
            "of this version of wsi-lpd; train again."
        )
    network.load_state_dict(state)
