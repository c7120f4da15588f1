"""Mix Transformers (MiT), the encoders of SegFormer, as timm models `mit_b0` ... `mit_b5`.

A MiT is timm's PVT-v2 (Apache-2.0) with MLP ratio 4 in every stage, so nothing is copied here but numbers: widths,
depths and heads are those of the SegFormer paper (Xie et al. 2021, arXiv 2105.15203, appendix). Importing this
module registers the names with timm. No weights are published under these names; `checkpoint_filter_fn` reads the
layouts in which MiT weights are found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from torch import Tensor

__all__ = ["MixTransformer"]

_INPUT: Final = {
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "first_conv": "patch_embed.proj",
    "classifier": "head",
}

default_cfgs = generate_default_cfgs({f"mit_b{size}": dict(_INPUT) for size in range(6)})


class MixTransformer(PyramidVisionTransformerV2):
    """timm's PVT-v2 under the name by which timm (and `weights.py`) find the key conversion below."""


def _mix_transformer(variant: str, pretrained: bool, depths: tuple[int, ...], **options: Any) -> MixTransformer:
    shape = {
        "depths": depths,
        "embed_dims": (64, 128, 320, 512),
        "num_heads": (1, 2, 5, 8),
        "sr_ratios": (8, 4, 2, 1),
        "mlp_ratios": (4, 4, 4, 4),
    }
    return build_model_with_cfg(
        MixTransformer,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"flatten_sequential": True, "out_indices": (0, 1, 2, 3)},
        **(shape | options),
    )


@register_model
def mit_b0(pretrained: bool = False, **options: Any) -> MixTransformer:
    """3.3 M parameters."""
    return _mix_transformer("mit_b0", pretrained, (2, 2, 2, 2), **({"embed_dims": (32, 64, 160, 256)} | options))


@register_model
def mit_b1(pretrained: bool = False, **options: Any) -> MixTransformer:
    """13.2 M parameters."""
    return _mix_transformer("mit_b1", pretrained, (2, 2, 2, 2), **options)


@register_model
def mit_b2(pretrained: bool = False, **options: Any) -> MixTransformer:
    """24.2 M parameters."""
    return _mix_transformer("mit_b2", pretrained, (3, 4, 6, 3), **options)


@register_model
def mit_b3(pretrained: bool = False, **options: Any) -> MixTransformer:
    """44.1 M parameters."""
    return _mix_transformer("mit_b3", pretrained, (3, 4, 18, 3), **options)


@register_model
def mit_b4(pretrained: bool = False, **options: Any) -> MixTransformer:
    """60.8 M parameters."""
    return _mix_transformer("mit_b4", pretrained, (3, 8, 27, 3), **options)


@register_model
def mit_b5(pretrained: bool = False, **options: Any) -> MixTransformer:
    """81.4 M parameters."""
    return _mix_transformer("mit_b5", pretrained, (3, 6, 40, 3), **options)


_OFFICIAL: Final = (
    (r"^patch_embed1\.", "patch_embed."),
    (r"^patch_embed([234])\.", lambda m: f"stages.{int(m[1]) - 1}.downsample."),
    (r"^block(\d)\.(\d+)\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.{m[2]}."),
    (r"^norm(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.norm."),
    (r"\.dwconv\.dwconv\.", ".dwconv."),
)
"""Keys of the SegFormer project's own files."""

_HUGGING_FACE: Final = (
    # transformers 4 and the files on the hub -> transformers 5
    (r"^encoder\.patch_embeddings\.(\d+)\.", r"stages.\1.patch_embeddings."),
    (r"^encoder\.block\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"^encoder\.layer_norm\.(\d+)\.", r"stages.\1.norm."),
    (r"\.layer_norm_1\.", ".layernorm_before."),
    (r"\.layer_norm_2\.", ".layernorm_after."),
    (r"\.attention\.self\.(query|key|value)\.", lambda m: f".attention.{m[1][0]}_proj."),
    (r"\.attention\.self\.sr\.", ".attention.sequence_reduction.sequence_reduction."),
    (r"\.attention\.self\.layer_norm\.", ".attention.sequence_reduction.layer_norm."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.mlp\.dense(\d)\.", r".mlp.fc\1."),
    # transformers 5 -> ours
    (r"^stages\.0\.patch_embeddings\.", "patch_embed."),
    (r"^stages\.(\d+)\.patch_embeddings\.", r"stages.\1.downsample."),
    (r"^(patch_embed|stages\.\d+\.downsample)\.layer_norm\.", r"\1.norm."),
    (r"^stages\.(\d+)\.layer_norm\.", r"stages.\1.norm."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.sequence_reduction\.sequence_reduction\.", ".attn.sr."),
    (r"\.attention\.sequence_reduction\.layer_norm\.", ".attn.norm."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.([qkv])_proj\.", r".attn.\1."),
    (r"\.dwconv\.dwconv\.", ".dwconv."),
)
"""Keys of `SegformerModel`; rules apply in order."""


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: Any = None) -> dict[str, Tensor]:
    """Renames the keys of MiT weights to ours; keys that no rule knows stay as they are, for the caller to refuse.

    Reads our own layout, the SegFormer project's, and Hugging Face's (`SegformerModel` of transformers 4 and 5, also
    inside a classifier or segmenter).

    Args:
        state: Weights by name.
        model: Not used; timm passes it to every function of this name.
    """
    state = {key.removeprefix("segformer."): value for key, value in state.items()}
    if "patch_embed1.proj.weight" in state:
        return _renamed(state, _OFFICIAL)
    if any("patch_embeddings." in key for key in state):
        return _joined_key_value(_renamed(state, _HUGGING_FACE))
    return state


def _renamed(state: Mapping[str, Tensor], rules: tuple[tuple[str, Any], ...]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def _joined_key_value(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """One `kv` projection, keys first, where Hugging Face has two; a lone half stays."""
    for key in [key for key in state if ".attn.k." in key]:
        other = key.replace(".attn.k.", ".attn.v.")
        if other in state:
            state[key.replace(".attn.k.", ".attn.kv.")] = torch.cat([state.pop(key), state.pop(other)])
    return state
