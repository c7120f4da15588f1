"""Vision transformers as the library transformers describes and names them (ViT, DINOv2), in timm's words.

Phikon and Hibou are published so. Layouts of transformers 4, which the hub's files have, and 5 are read; DINOv2's own
layout is read by timm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from wsi_lpd.errors import ModelError

_ARCHITECTURE: Final = "vit_base_patch16_224"
"""timm's plain vision transformer; the arguments overrule all its sizes."""

_KINDS: Final = ("vit", "dinov2", "dinov2_with_registers")

_RULES: Final = (
    (r"^(vit|dinov2|dinov2_with_registers|model)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(encoder\.)?layers?\.(\d+)\.", r"blocks.\2."),
    (r"\.(layernorm_before|norm1)\.", ".norm1."),
    (r"\.(layernorm_after|norm2)\.", ".norm2."),
    (r"\.attention\.(attention\.query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(attention\.key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(attention\.value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.(weights_out|down_proj)\.", ".mlp.fc2."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)
"""Rules apply in order."""

_LEFT_OUT: Final = ("embeddings.mask_token", "pooler.")


def timm_arguments(config: Mapping[str, Any], *, label: str) -> tuple[str, dict[str, Any]]:
    """The name and arguments by which timm builds what is in a config.json of transformers.

    Args:
        config: Its content.
        label: What it is called in errors.

    Raises:
        ModelError: If it describes something else, or lacks a size.
    """
    kind = config.get("model_type")
    if kind not in _KINDS:
        raise ModelError(
            f"model.encoder: {label}/config.json describes {kind!r}; expected timm's `architecture`, or a model_type "
            f"of {', '.join(_KINDS)}"
        )
    try:
        width, side, patch = (int(config[key]) for key in ("hidden_size", "image_size", "patch_size"))
        depth, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        arguments: dict[str, Any] = {
            "img_size": side,
            "patch_size": patch,
            "embed_dim": width,
            "depth": depth,
            "num_heads": heads,
            "qkv_bias": bool(config.get("qkv_bias", True)),
        }
        hidden = int(config["intermediate_size"]) if kind == "vit" else int(width * config.get("mlp_ratio", 4))
    except (KeyError, TypeError, ValueError) as err:
        raise ModelError(f"model.encoder: {label}/config.json lacks a size, or it is no number ({err})") from err
    if kind == "vit":
        return _ARCHITECTURE, arguments | {"mlp_ratio": _ratio(hidden, width)}
    registers = int(config.get("num_register_tokens", 4 if kind == "dinov2_with_registers" else 0))
    arguments |= {"init_values": 1e-5, "reg_tokens": registers, "no_embed_class": registers > 0}
    if config.get("use_swiglu_ffn", False):
        hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)
        arguments |= {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}
    return _ARCHITECTURE, arguments | {"mlp_ratio": _ratio(hidden, width)}


def timm_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of a transformers' ViT or DINOv2 to timm's; other tables come back as they are."""
    if not any(key.endswith("embeddings.patch_embeddings.projection.weight") for key in state):
        return dict(state)
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in _RULES:
            key = re.sub(pattern, replacement, key)
        if not key.startswith(_LEFT_OUT):
            renamed[key] = value
    _join(renamed, ("attn.q", "attn.k", "attn.v"), "attn.qkv")
    _join(renamed, ("mlp.gate_proj", "mlp.up_proj"), "mlp.fc1")
    if {"reg_token", "cls_token", "pos_embed"} <= set(renamed):
        # With registers timm adds positions to patches only; that of the class token goes into the token itself.
        positions = renamed["pos_embed"]
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]
        renamed["pos_embed"] = positions[:, 1:]
    return renamed


def _ratio(hidden: int, width: int) -> float:
    """What timm multiplies by the width and rounds down; a half more, as rounding must not fall short."""
    return (hidden + 0.5) / width


def _join(state: dict[str, Tensor], parts: tuple[str, ...], whole: str) -> None:
    """Makes one tensor of those of several linear layers; incomplete sets stay for the caller to refuse."""
    for key in [key for key in state if f".{parts[0]}." in key]:
        keys = [key.replace(f".{parts[0]}.", f".{part}.") for part in parts]
        if all(k in state for k in keys):
            state[key.replace(f".{parts[0]}.", f".{whole}.")] = torch.cat([state.pop(k) for k in keys])
