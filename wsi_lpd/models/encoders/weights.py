"""Pretrained weights for an encoder: from a local file, a folder, or the Hugging Face hub.

Nothing is unpickled, the network is touched for `timm` and `hf-hub:` only, and whatever is loaded fits key by key.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import clean_state_dict
from torch import Tensor

from wsi_lpd.errors import ModelError, one_line
from wsi_lpd.models.encoders.blueprint import ABOUT_FILES, read_about, statistics_of
from wsi_lpd.models.encoders.hub import WEIGHT_FILES, hub_file
from wsi_lpd.models.encoders.vit_layout import timm_keys
from wsi_lpd.models.saved.mismatch import weights_mismatch

_logger = logging.getLogger(__name__)

_WRAPPERS: Final = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training scripts keep the weights, averaged ones first."""

_HEADS: Final = ("head", "head_dist", "fc", "classifier", "last_linear", "decode_head", "auxiliary_head")
"""Parts that only classify or decode; an encoder has no use for them."""


@dataclass(frozen=True)
class Weights:
    """What was loaded into an encoder, for the model card."""

    provenance: str
    licence: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class _Source:
    label: str
    file: Path
    about: Mapping[str, Any]


def load_weights(body: Any, weights: str, *, name: str | None) -> Weights:
    """Loads pretrained weights into a timm network built with `num_classes=0`.

    Args:
        body: The network; unchanged if this raises.
        weights: `timm` (the published ones of that name), `hf-hub:owner/name[@revision]`, a weights file
            (.safetensors, or .pth, .pt, .bin, which are read without unpickling), or a folder in the hub's layout.
        name: timm's name of the network, which that of the weights must be; None for one that is described otherwise.

    Raises:
        ModelError: If there are no such weights, they cannot be had or read, or they do not fit the network.
    """
    source = _locate(weights, name=name)
    state, dropped = _fitted(body, read_state(source.file), label=source.label)
    body.load_state_dict(state, strict=False)
    with source.file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    notes = "".join(f"; {note}" for note in source.about.get("notes") or ())
    left_out = f"; left out {', '.join(dropped)}" if dropped else ""
    _logger.info("encoder: weights from %s%s", source.label, left_out)
    return Weights(
        provenance=f"{source.label} (sha256:{digest}){notes}{left_out}",
        licence=source.about.get("license"),
        mean=source.about.get("mean"),
        std=source.about.get("std"),
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Reads the weights in a file; wrappers of data-parallel, compiled and averaged models are taken off.

    Raises:
        ModelError: If the file is damaged, or holds anything that only unpickling could read.
    """
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as err:
        raise ModelError(
            f"{path}: cannot be read as weights ({one_line(err)}); expected a .safetensors file, or .pth, .pt, .bin "
            "written by torch.save. It may be incomplete: copy or download it again."
        ) from err
    if isinstance(content, dict):
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path}: holds no table of named tensors (a state dict); give a file of weights only")
    state = clean_state_dict(content)
    if any(key.startswith("backbone.") for key in state):  # a whole segmenter or detector: its encoder
        return {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    return dict(state)


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise ModelError(
            f"{path}: holds more than weights, or is no file of torch.save; reading it could run code, so it is not "
            "read. If you trust it, save its weights once with safetensors.torch.save_file(state_dict, "
            "'model.safetensors') and give that file."
        ) from err


def _locate(weights: str, *, name: str | None) -> _Source:
    if weights == "timm":
        return _published(name)
    if weights.startswith(("hf-hub:", "hf_hub:")):
        return _on_hub(weights.partition(":")[2], name=name)
    path = Path(weights).expanduser()
    if weights and path.is_dir():
        return _in_folder(path, name=name)
    if path.is_file():
        return _Source(path.name, path, {})
    raise ModelError(
        f"model.weights: no file or folder {weights!r}; expected none, timm, hf-hub:owner/name, a file "
        "(.safetensors, .pth, .bin) or a folder with model.safetensors"
    )


def _published(name: str | None) -> _Source:
    if name is None:
        raise ModelError("model.weights=timm is for encoders that timm names; leave it out, or give a file or folder")
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id or str(config.custom_load) == "hf":
        hint = f"hf-hub:nvidia/{name.replace('_', '-')}" if name.startswith("mit_b") else "hf-hub:owner/name"
        raise ModelError(
            f"model.weights=timm: timm has no weights on the hub for {name}. Give a local file, or {hint} "
            "(mind its licence), or model.weights=none."
        )
    files = [config.hf_hub_filename] if config.hf_hub_filename else WEIGHT_FILES
    file = hub_file(config.hf_hub_id, files)
    return _Source(f"{config.hf_hub_id}/{file.name}", file, {"license": config.license})


def _on_hub(repository: str, *, name: str | None) -> _Source:
    file = hub_file(repository, WEIGHT_FILES)
    about = _about([hub_file(repository, [n], required=False) for n in ABOUT_FILES], label=repository, name=name)
    return _Source(f"hf-hub:{repository}/{file.name}", file, about)


def _in_folder(folder: Path, *, name: str | None) -> _Source:
    file = next((folder / n for n in WEIGHT_FILES if (folder / n).is_file()), None)
    if file is None:
        raise ModelError(f"{folder}: holds no weights; expected one of {', '.join(WEIGHT_FILES)} in it")
    return _Source(
        f"{folder.name}/{file.name}", file, _about([folder / n for n in ABOUT_FILES], label=str(folder), name=name)
    )


def _about(files: Sequence[Path | None], *, label: str, name: str | None) -> dict[str, Any]:
    """Licence, mean and std as a folder of timm's or transformers' layout states them."""
    config = read_about(files)
    stated = config.get("architecture")
    if name is not None and isinstance(stated, str) and stated.partition(".")[0] != name.partition(".")[0]:
        raise ModelError(
            f"model.weights: {label} holds weights of {stated}, the encoder is {name}. Set model.encoder={stated}, "
            "or give other weights."
        )
    return statistics_of(config)


def _fitted(body: Any, state: Mapping[str, Tensor], *, label: str) -> tuple[dict[str, Tensor], list[str]]:
    """The weights by the network's own names, and the keys of heads that were left out."""
    state = _converted(body, state, label=label)
    expected: dict[str, Tensor] = body.state_dict()
    dropped = sorted(key for key in state if key not in expected and _is_head(key, body))
    fitted = {key: value for key, value in state.items() if key not in dropped}
    # Files from before batch norms counted their batches are good without the counter.
    optional = [key for key in expected if _is_head(key, body) or key.endswith(".num_batches_tracked")]
    problem = weights_mismatch(expected, fitted, optional=optional)
    if problem is not None:
        raise ModelError(
            f"model.weights: {label} does not fit the encoder: {problem}. Is it another network, size or layout?"
        )
    return fitted, dropped


def _converted(body: Any, state: Mapping[str, Tensor], *, label: str) -> Mapping[str, Tensor]:
    """The keys as the network names them: timm keeps a function of this name beside networks with older layouts."""
    state = timm_keys(state)
    convert = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        return dict(convert(dict(state), body))
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as err:
        raise ModelError(
            f"model.weights: {label} does not fit the encoder: its keys, such as {', '.join(list(state)[:3])}, are of "
            "no known layout. Is it another network?"
        ) from err


def _is_head(key: str, body: Any) -> bool:
    stated = getattr(body, "pretrained_cfg", {}).get("classifier") or ()
    names = {*_HEADS, *([stated] if isinstance(stated, str) else stated)}
    return any(key.startswith(f"{head}.") for head in names)
