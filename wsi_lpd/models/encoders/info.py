"""What is known of an encoder before anything is trained: stages, input, licence, and whether it is here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from wsi_lpd.config.model import is_timm_name
from wsi_lpd.models.encoders.blueprint import find_blueprint
from wsi_lpd.models.encoders.build import default_scales, unstride
from wsi_lpd.models.encoders.hub import WEIGHT_FILES, cached_file


@dataclass(frozen=True)
class Stage:
    """A feature map: its number in `model.scales`, channels, and input pixels per position."""

    index: int
    channels: int
    stride_px: int


@dataclass(frozen=True)
class EncoderInfo:
    """One encoder.

    Attributes:
        architecture: timm's name of the network.
        n_parameters: Without a head.
        stages: All feature maps.
        scales: Those that are used where `model.scales` names none.
        input_px: Height and width of the images it learnt from.
        takes_any_size: Whether it takes images of other sizes.
        mean: Subtracted from images in [0, 1], RGB order.
        std: Divided by afterwards.
        licence: Of the published weights; None where it is not stated.
        hub: Where they are published; None where they are not.
        local: Where they lie on this machine; None where they do not.
    """

    architecture: str
    n_parameters: int
    stages: tuple[Stage, ...]
    scales: tuple[int, ...]
    input_px: tuple[int, int]
    takes_any_size: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str | None
    hub: str | None
    local: Path | None


def encoder_info(name: str, *, last_stride: int = 16) -> EncoderInfo:
    """Looks an encoder up; its network is laid out without memory for weights.

    Args:
        name: As `model.encoder` takes it.
        last_stride: `model.last_stride`, which decides the strides of some networks.

    Raises:
        ModelError: If there is no such encoder, or its description cannot be had.
    """
    blueprint = find_blueprint(name)
    with torch.device("meta"):
        body, fixed_size_px = blueprint.body(last_stride=last_stride)
    unstride(body, last_stride)
    config = timm.get_pretrained_cfg(blueprint.architecture)
    stated: dict[str, Any] = {} if config is None else dataclasses.asdict(config)
    of_timm = is_timm_name(name)
    licence = stated.get("license") if of_timm else blueprint.licence
    hub = (stated.get("hf_hub_id") or None) if of_timm else _repository(name)
    size = blueprint.input_px or tuple(stated.get("input_size", (3, 224, 224))[1:])
    return EncoderInfo(
        architecture=blueprint.architecture,
        n_parameters=sum(p.numel() for p in body.parameters()),
        stages=tuple(
            Stage(i, int(body.feature_info[i]["num_chs"]), int(body.feature_info[i]["reduction"]))
            for i in range(len(body.feature_info))
        ),
        scales=default_scales(body),
        input_px=(int(size[0]), int(size[1])),
        takes_any_size=fixed_size_px is None,
        mean=tuple(blueprint.mean or stated.get("mean") or IMAGENET_DEFAULT_MEAN),
        std=tuple(blueprint.std or stated.get("std") or IMAGENET_DEFAULT_STD),
        licence=licence,
        hub=hub,
        local=local_weights(name) if hub is None or not of_timm else cached_file(hub, WEIGHT_FILES),
    )


def local_weights(name: str) -> Path | None:
    """The weights of a hub name in the hub's cache, or of a folder in it; None where there are none."""
    repository = _repository(name)
    if repository is not None:
        return cached_file(repository, WEIGHT_FILES)
    return next((Path(name) / file for file in WEIGHT_FILES if (Path(name) / file).is_file()), None)


def _repository(name: str) -> str | None:
    return name.partition(":")[2] if name.startswith(("hf-hub:", "hf_hub:")) else None
