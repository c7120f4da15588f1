"""Encoders: any timm network that gives feature maps, under one small interface.

Written against timm's public model interface (`feature_info`, `forward_intermediates`, `prune_intermediate_layers`),
so convolutional networks, Swin, PVT, ConvNeXt and plain vision transformers look the same from outside.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Sequence
from typing import Any

import timm
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from torch import Tensor, nn

from wsi_lpd.errors import ModelError
from wsi_lpd.models import mit as _mit  # noqa: F401  registers mit_b0 ... mit_b5 with timm
from wsi_lpd.models.weights import Weights, load_weights


class Encoder(nn.Module):
    """Feature maps of one network at several scales.

    Attributes:
        name: The timm name.
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
        scales: Sequence[int],
        weights: Weights,
        multiple_px: int,
        fixed_size_px: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        info = [dict(body.feature_info[i]) for i in range(len(body.feature_info))]
        config: dict[str, Any] = getattr(body, "pretrained_cfg", {})
        self.name = name
        self.scales = tuple(scales)
        self.channels = tuple(int(info[scale]["num_chs"]) for scale in scales)
        self.reductions = tuple(int(info[scale]["reduction"]) for scale in scales)
        self.mean = _three(weights.mean, config.get("mean"), IMAGENET_DEFAULT_MEAN)
        self.std = _three(weights.std, config.get("std"), IMAGENET_DEFAULT_STD)
        self.licence = weights.licence
        self.weights = weights.provenance
        self.fixed_size_px = fixed_size_px
        self._multiple_px = multiple_px
        self._stages = sorted(set(scales))
        body.prune_intermediate_layers(self._stages, prune_norm=True, prune_head=True)
        self.body: Any = body

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
            self._padded(images), indices=self._stages, output_fmt="NCHW", intermediates_only=True
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


def build_encoder(name: str, *, weights: str = "none", last_stride: int = 16, scales: Sequence[int]) -> Encoder:
    """Builds an encoder by its timm name.

    Args:
        name: A timm model name, also with a tag (`resnet50.a1_in1k`), or mit_b0 ... mit_b5.
        weights: `none` draws them from torch's generator and touches neither network nor disk; everything else is
            explained at `load_weights`.
        last_stride: 16 takes the down-sampling of the last stage away, 8 that of the last two, where the architecture
            allows it without new parameters: PVT-v2 and MiT (their patch embeddings get stride 1) and the
            convolutional networks that timm can dilate (`output_stride`). Others keep 32; `Encoder.reductions` says
            what came of it.
        scales: Stages to return, counted from 0.

    Raises:
        ModelError: If the name or a scale does not exist, or the weights cannot be had or do not fit.
    """
    _check_name(name)
    body, fixed_size_px = _create(name, last_stride=last_stride)
    _check_scales(name, body, scales)
    # Taken before the last stride goes: the key-value reduction of PVT-v2 and MiT needs whole 32 px blocks.
    multiple_px = math.lcm(*(int(body.feature_info[i]["reduction"]) for i in range(len(body.feature_info))))
    loaded = Weights("random") if weights == "none" else load_weights(body, weights, name=name)
    if isinstance(body, PyramidVisionTransformerV2):
        _unstride(body, last_stride)
    return Encoder(body, name=name, scales=scales, weights=loaded, multiple_px=multiple_px, fixed_size_px=fixed_size_px)


def _check_name(name: str) -> None:
    if timm.is_model(name):
        return
    known = timm.list_models()
    close = difflib.get_close_matches(name, known, n=5) or ["pvt_v2_b0", "resnet50", "convnext_tiny"]
    raise ModelError(
        f"model.encoder: timm has no model {name!r}; did you mean {', '.join(close)}? "
        "`python -c 'import timm; print(timm.list_models())'` prints all."
    )


def _create(name: str, *, last_stride: int) -> tuple[Any, tuple[int, int] | None]:
    """The plain network, and the only image size it takes (none = any)."""
    config = timm.get_pretrained_cfg(name)
    fixed_size_px = None
    if config is not None and config.fixed_input_size:
        fixed_size_px = (int(config.input_size[1]), int(config.input_size[2]))
    # Networks name these options differently or do not have them; timm refuses unknown ones with these errors.
    strides: list[dict[str, Any]] = [{"output_stride": last_stride}] if last_stride < 32 else []
    sizes: list[dict[str, Any]] = [{"strict_img_size": False}, {"dynamic_img_size": True}] if fixed_size_px else []
    for size, stride in itertools.product([*sizes, {}], [*strides, {}]):
        try:
            body = timm.create_model(name, pretrained=False, num_classes=0, **size, **stride)
        except (TypeError, AssertionError, NotImplementedError):
            if size or stride:
                continue
            raise
        return body, None if size else fixed_size_px
    raise AssertionError("the last attempt returns or raises")


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


def _unstride(body: Any, last_stride: int) -> None:
    """Takes the stride of the last stages away; a patch embedding 3 pixels wide with padding 1 keeps its size."""
    for stage, info in zip(body.stages, body.feature_info, strict=True):
        if info["reduction"] > last_stride:
            stage.downsample.proj.stride = (1, 1)
            info["reduction"] = last_stride


def _three(*choices: Sequence[float] | None) -> tuple[float, float, float]:
    red, green, blue = next(values for values in choices if values is not None)
    return float(red), float(green), float(blue)
