"""Small random networks saved as the hub has them: config.json and weights in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

MEAN, STD = [0.7, 0.55, 0.65], [0.2, 0.24, 0.18]

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2}),
    "vit14": ("vit_tiny_patch16_224", {"img_size": 28, "patch_size": 14, "embed_dim": 24, "depth": 3, "num_heads": 2}),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 64, "window_size": 4, "embed_dim": 12, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 2]},
    ),
    "convnext": ("convnext_atto", {"depths": [1, 1, 2, 1], "dims": [8, 16, 24, 40]}),
    "resnet": ("resnet18", {"layers": [1, 1, 1, 1]}),
}


def hub_folder(path: Path, kind: str, *, seed: int = 3, **model_args: Any) -> Path:
    """One of `SMALL` with weights of its own, and statistics that are no default."""
    architecture, arguments = SMALL[kind]
    arguments = arguments | model_args
    torch.manual_seed(seed)
    network = timm.create_model(architecture, pretrained=False, num_classes=3, **arguments)
    side = arguments.get("img_size", 64)
    path.mkdir(parents=True)
    save_file(network.state_dict(), path / "model.safetensors")
    card = {"mean": MEAN, "std": STD, "input_size": [3, side, side], "license": "cc-by-4.0"}
    (path / "config.json").write_text(
        json.dumps({"architecture": architecture, "model_args": arguments, "pretrained_cfg": card})
    )
    return path
