"""What timm has to build for an encoder's name: a timm name, `hf-hub:owner/name`, or a folder in the hub's layout."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import timm
import timm.layers

from wsi_lpd.config.model import HUB_PREFIXES, is_timm_name
from wsi_lpd.errors import ModelError, one_line
from wsi_lpd.models.encoders import mit as _mit  # noqa: F401  registers mit_b0 ... mit_b5 with timm
from wsi_lpd.models.encoders.catalogue import CATALOGUE, Triple, catalogue_entry
from wsi_lpd.models.encoders.hub import hub_file
from wsi_lpd.models.encoders.vit_layout import timm_arguments

ABOUT_FILES: Final = ("config.json", "preprocessor_config.json")
"""Files of timm's and transformers' layouts that describe a network."""

_LAYERS: Final = ("Mlp", "GluMlp", "SwiGLU", "SwiGLUPacked")
"""Values of `mlp_layer`, which timm wants as a class and JSON cannot hold."""


@dataclass(frozen=True)
class Blueprint:
    """All that decides a network but its weights; JSON can hold it.

    Attributes:
        architecture: timm's name.
        arguments: What timm is told beside it.
        mean: Of the input, where the source states it.
        std: Likewise.
        input_px: Height and width of the images it learnt from, where the source states it.
        licence: Of the weights, where the source states it.
    """

    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    mean: Triple | None = None
    std: Triple | None = None
    input_px: tuple[int, int] | None = None
    licence: str | None = None

    def body(self, *, last_stride: int = 32) -> tuple[Any, tuple[int, int] | None]:
        """The plain network with fresh weights, and the only image size it takes (none = any).

        Raises:
            ModelError: If timm has no such network, or refuses the arguments.
        """
        check_timm_name(self.architecture)
        arguments = {"num_classes": 0} | {key: _resolved(key, value) for key, value in self.arguments.items()}
        arguments["num_classes"] = 0
        config = timm.get_pretrained_cfg(self.architecture)
        fixed_px = None
        if config is not None and config.fixed_input_size:
            side = self.arguments.get("img_size", config.input_size[1:])
            fixed_px = (int(side), int(side)) if isinstance(side, int) else (int(side[0]), int(side[1]))
        # Networks name these options differently or do not have them; timm refuses unknown ones with these errors.
        strides: list[dict[str, Any]] = [{"output_stride": last_stride}] if last_stride < 32 else []
        sizes: list[dict[str, Any]] = [{"strict_img_size": False}, {"dynamic_img_size": True}] if fixed_px else []
        for size, stride in itertools.product([*sizes, {}], [*strides, {}]):
            try:
                body = timm.create_model(self.architecture, pretrained=False, **(arguments | size | stride))
            except (TypeError, AssertionError, NotImplementedError) as err:
                if size or stride:
                    continue
                raise ModelError(f"model.encoder: timm refuses to build {self.architecture} ({one_line(err)})") from err
            return body, None if size else fixed_px
        raise AssertionError("the last attempt returns or raises")


def find_blueprint(name: str, *, weights: str = "none") -> Blueprint:
    """What `model.encoder` names.

    Args:
        name: A timm name, `hf-hub:owner/name[@revision]`, or a folder with config.json.
        weights: `model.weights`; if a folder, its config.json speaks for the hub's.

    Raises:
        ModelError: If there is no such network, or its description cannot be had or understood.
    """
    if is_timm_name(name):
        check_timm_name(name)
        return Blueprint(name)
    known = catalogue_entry(name)
    if known is not None and not known.in_transformers_layout:
        return _of_known(name)
    folder = Path(weights).expanduser() if name.startswith(HUB_PREFIXES) else Path(name).expanduser()
    if (folder / ABOUT_FILES[0]).is_file():
        return _described([folder / file for file in ABOUT_FILES], label=str(folder))
    if name.startswith(HUB_PREFIXES):
        repository = name.partition(":")[2]
        first = hub_file(repository, ABOUT_FILES[:1], required=known is None)
        if first is None:
            return _of_known(name)
        return _described([first, hub_file(repository, ABOUT_FILES[1:], required=False)], label=repository)
    found = "a folder without config.json" if folder.is_dir() else "no folder"
    raise ModelError(
        f"model.encoder: {name} is {found}; expected a timm name, hf-hub:owner/name, or a folder with config.json and "
        "model.safetensors (or pytorch_model.bin) as `hf download owner/name --local-dir FOLDER` makes it"
    )


def check_timm_name(name: str) -> None:
    """Refuses a name that timm does not have.

    Raises:
        ModelError: With close names.
    """
    if timm.is_model(name):
        return
    if Path(name).is_dir():
        raise ModelError(
            f"model.encoder: timm has no model {name!r}; if the folder of that name is meant, write ./{name}"
        )
    short = {known.repository.rpartition("/")[2].casefold(): known.name for known in CATALOGUE}
    close = (
        [short[name.casefold()]]
        if name.casefold() in short
        else difflib.get_close_matches(name, timm.list_models(), n=5)
    )
    raise ModelError(
        f"model.encoder: timm has no model {name!r}; did you mean "
        f"{', '.join(close or ['pvt_v2_b0', 'resnet50', 'convnext_tiny'])}? `wsi-lpd encoders` lists pathology's, "
        "`python -c 'import timm; print(timm.list_models())'` all of timm's."
    )


def read_about(files: Sequence[Path | None]) -> dict[str, Any]:
    """The content of the files that are there, together.

    Raises:
        ModelError: If one is no JSON.
    """
    config: dict[str, Any] = {}
    for file in files:
        if file is not None and file.is_file():
            config |= _read_json(file)
    return config


def statistics_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`license`, `mean`, `std` and `notes` as timm's or transformers' layout states them; None where it does not."""
    nested = config.get("pretrained_cfg")
    card: Mapping[str, Any] = nested if isinstance(nested, dict) else {}
    return {
        "license": card.get("license", config.get("license")),
        "mean": card.get("mean", config.get("image_mean")),
        "std": card.get("std", config.get("image_std")),
        "notes": card.get("notes"),
    }


def _of_known(name: str) -> Blueprint:
    known = catalogue_entry(name)
    assert known is not None
    side = (known.input_px, known.input_px)
    return Blueprint(known.architecture, known.arguments, *known.statistics, input_px=side, licence=known.licence)


def _described(files: Sequence[Path | None], *, label: str) -> Blueprint:
    config = read_about(files)
    about = statistics_of(config)
    architecture, arguments = config.get("architecture"), config.get("model_args", {})
    side: Any = _dict(config.get("pretrained_cfg")).get("input_size")
    if architecture is None:
        architecture, arguments = timm_arguments(config, label=label)
        side = (3, arguments["img_size"], arguments["img_size"])
    if not isinstance(architecture, str) or not isinstance(arguments, dict):
        raise ModelError(f"model.encoder: {label}/config.json states no architecture that timm could build")
    try:
        mean, std = _triple(about["mean"]), _triple(about["std"])
        size = None if side is None else (int(side[1]), int(side[2]))
    except (TypeError, ValueError, IndexError) as err:
        raise ModelError(f"model.encoder: {label}: mean, std and input_size must be three numbers each") from err
    return Blueprint(architecture, arguments, mean, std, input_px=size, licence=about["license"])


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _triple(values: Any) -> Triple | None:
    if values is None:
        return None
    red, green, blue = values
    return float(red), float(green), float(blue)


def _resolved(key: str, value: Any) -> Any:
    if key != "mlp_layer":
        return value
    if value not in _LAYERS:
        raise ModelError(f"model.encoder: mlp_layer {value!r} is not known; expected one of {', '.join(_LAYERS)}")
    return getattr(timm.layers, value)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ModelError(f"{file}: cannot be read as JSON ({' '.join(str(err).split())[:200]})") from err
    return content if isinstance(content, dict) else {}
