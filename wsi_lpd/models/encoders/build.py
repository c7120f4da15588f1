"""Encoders: any timm network that gives feature maps, under one small interface.

Written against timm's public model interface (`feature_info`, `forward_intermediates`, `prune_intermediate_layers`),
so convolutional networks, Swin, PVT, ConvNeXt and plain vision transformers look the same from outside.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from torch import Tensor, nn

from wsi_lpd.config.model import is_timm_name
from wsi_lpd.errors import ModelError
from wsi_lpd.models.encoders.blueprint import Blueprint, find_blueprint
from wsi_lpd.models.encoders.run_weights import load_encoder_of_run, named_run, weights_of_run
from wsi_lpd.models.encoders.weights import Weights, load_weights

_STAGES = (1, 2, 3)
"""Used of a network with stages, where nothing else is asked for."""


class Encoder(nn.Module):
    """Feature maps of one network at several scales.

    Attributes:
        name: As `model.encoder` names it.
        blueprint: What timm built.
        is_plain: Whether all stages have one stride, as the blocks of a plain vision transformer do.
        scales: Stages that are returned, counted from 0, in the order asked for.
        channels: Channels of each returned map.
        reductions: Input pixels per feature pixel of each returned map.
        mean: What to subtract from an image in [0, 1], RGB order.
        std: What to divide it by afterwards, RGB order.
        licence: Licence of the loaded weights, if it is stated.
        weights: Where the weights came from, for people.
        fixed_size_px: Height and width of the only images it takes; none for networks that take any size.
    """

    def __init__(
        self,
        body: Any,
        *,
        name: str,
        blueprint: Blueprint,
        scales: Sequence[int],
        weights: Weights,
        multiple_px: int,
        fixed_size_px: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        info = [dict(body.feature_info[i]) for i in range(len(body.feature_info))]
        config: dict[str, Any] = getattr(body, "pretrained_cfg", {})
        self.name = name
        self.blueprint = blueprint
        self.is_plain = is_plain(body)
        self.scales = tuple(scales)
        self.channels = tuple(int(info[scale]["num_chs"]) for scale in scales)
        self.reductions = tuple(int(info[scale]["reduction"]) for scale in scales)
        self.mean = _three(weights.mean, blueprint.mean, config.get("mean"), IMAGENET_DEFAULT_MEAN)
        self.std = _three(weights.std, blueprint.std, config.get("std"), IMAGENET_DEFAULT_STD)
        self.licence = weights.licence if weights.licence is not None else blueprint.licence
        self.weights = weights.provenance
        self.fixed_size_px = fixed_size_px
        self._multiple_px = multiple_px
        self._stages = sorted(set(scales))
        # A plain transformer hands its stream on without a norm; its tokens are meant to be read through the last one.
        with_norm = self.is_plain and "norm" in inspect.signature(body.forward_intermediates).parameters
        self._options = {"norm": True} if with_norm else {}
        body.prune_intermediate_layers(self._stages, prune_norm=not with_norm, prune_head=True)
        self.body: Any = body

    @property
    def cell_px(self) -> int:
        """Side of the least square of input pixels that holds a whole number of positions of every map."""
        return math.lcm(*self.reductions)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of normalised images.

        Sizes that are no multiple of the network's stride are padded at the right and at the bottom by repeating the
        edge, and the maps are cut back to ceil(H / r), ceil(W / r).

        Args:
            images: (B, 3, H, W), RGB, normalised by `mean` and `std`.

        Returns:
            One map (B, D_s, ceil(H / r_s), ceil(W / r_s)) per scale.

        Raises:
            ModelError: If this network takes images of one size only, and these have another.
        """
        height, width = images.shape[-2:]
        maps = self.body.forward_intermediates(
            self._padded(images), indices=self._stages, output_fmt="NCHW", intermediates_only=True, **self._options
        )
        return [
            maps[self._stages.index(scale)][..., : math.ceil(height / r), : math.ceil(width / r)]
            for scale, r in zip(self.scales, self.reductions, strict=True)
        ]

    def _padded(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if self.fixed_size_px is not None:
            if (height, width) != self.fixed_size_px:
                fixed = "x".join(map(str, reversed(self.fixed_size_px)))
                raise ModelError(
                    f"encoder {self.name} takes images of {fixed} pixels only, got {width}x{height}. Use "
                    f"--patch-size {self.fixed_size_px[0]}, or an encoder without a fixed size such as pvt_v2_b0."
                )
            return images
        right, bottom = -width % self._multiple_px, -height % self._multiple_px
        return F.pad(images, (0, right, 0, bottom), mode="replicate") if right or bottom else images


def build_encoder(
    name: str,
    *,
    weights: str = "none",
    last_stride: int = 16,
    scales: Sequence[int] | None = None,
    blueprint: Blueprint | None = None,
) -> Encoder:
    """Builds an encoder by its name.

    Args:
        name: A timm model name, also with a tag (`resnet50.a1_in1k`), mit_b0 ... mit_b5, `hf-hub:owner/name`, or a
            folder in the hub's layout.
        weights: `none` draws them from torch's generator and touches neither network nor disk; a run folder gives its
            encoder; everything else is explained at `load_weights`.
        last_stride: 16 takes the down-sampling of the last stage away, 8 that of the last two, where the architecture
            allows it without new parameters: PVT-v2 and MiT (their patch embeddings get stride 1) and the
            convolutional networks that timm can dilate (`output_stride`). Others keep 32; `Encoder.reductions` says
            what came of it.
        scales: Stages to return, counted from 0; None = `default_scales`.
        blueprint: What the name stands for, where it is known already and must not be looked up.

    Raises:
        ModelError: If the name or a scale does not exist, or the weights cannot be had or do not fit.
    """
    plan = find_blueprint(name, weights=weights) if blueprint is None else blueprint
    body, fixed_size_px = plan.body(last_stride=last_stride)
    chosen = default_scales(body) if scales is None else scales
    _check_scales(name, body, chosen)
    # Taken before the last stride goes: the key-value reduction of PVT-v2 and MiT needs whole 32 px blocks.
    multiple_px = math.lcm(*(int(body.feature_info[i]["reduction"]) for i in range(len(body.feature_info))))
    expected = plan.architecture if is_timm_name(name) else None
    run = named_run(weights)
    if run is not None:
        loaded = weights_of_run(run)
    else:
        loaded = Weights("random") if weights == "none" else load_weights(body, weights, name=expected)
    unstride(body, last_stride)
    encoder = Encoder(
        body,
        name=name,
        blueprint=plan,
        scales=chosen,
        weights=loaded,
        multiple_px=multiple_px,
        fixed_size_px=fixed_size_px,
    )
    if run is not None:
        load_encoder_of_run(encoder.body, run, name=name)
    return encoder


def is_plain(body: Any) -> bool:
    """Whether all stages have one stride, as the blocks of a plain vision transformer do."""
    return len({int(body.feature_info[i]["reduction"]) for i in range(len(body.feature_info))}) == 1


def default_scales(body: Any) -> tuple[int, ...]:
    """Stages 1 to 3; of a plain transformer the blocks at half, three quarters and all of its depth.

    The first half of a transformer tells colours and edges apart more than tissues.
    """
    if not hasattr(body, "feature_info") or not is_plain(body):
        return _STAGES
    depth = len(body.feature_info)
    return tuple(max(0, math.ceil(depth * share) - 1) for share in (0.5, 0.75, 1.0))


def _check_scales(name: str, body: Any, scales: Sequence[int]) -> None:
    if not hasattr(body, "feature_info") or not hasattr(body, "forward_intermediates"):
        raise ModelError(f"model.encoder: {name} gives no feature maps; use another, such as pvt_v2_b0 or resnet50")
    n_stages = len(body.feature_info)
    wrong = [scale for scale in scales if not 0 <= scale < n_stages]
    if wrong or not scales:
        stages = ", ".join(
            f"{i} (1/{body.feature_info[i]['reduction']}, {body.feature_info[i]['num_chs']} channels)"
            for i in range(n_stages)
        )
        raise ModelError(
            f"model.scales: {name} has no stage {wrong}; it has {stages}. Set model.scales to some of these."
        )


def unstride(body: Any, last_stride: int) -> None:
    """Takes the stride of a PVT-v2's or MiT's last stages away; of other networks none, which timm dilates if it can.

    A patch embedding 3 pixels wide with padding 1 keeps its size.
    """
    if not issubclass(type(body), PyramidVisionTransformerV2):
        return
    for stage, info in zip(body.stages, body.feature_info, strict=True):
        if info["reduction"] > last_stride:
            stage.downsample.proj.stride = (1, 1)
            info["reduction"] = last_stride


def _three(*choices: Sequence[float] | None) -> tuple[float, float, float]:
    red, green, blue = next(values for values in choices if values is not None)
    return float(red), float(green), float(blue)
