"""Where a network runs, and in which precision."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from wsi_lpd.errors import ModelError
from wsi_lpd.types import UInt8Array


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Half-precision type of the forward pass, or None for float32 throughout."""
    if precision == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the first GPU, else Apple's, else the CPU.

    Raises:
        ModelError: If there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as err:
        raise ModelError(f"--device {name}: not available here; expected auto, cpu, cuda, cuda:1 or mps") from err
    return device


def to_images(patches: Tensor | UInt8Array, device: torch.device) -> Tensor:
    """Patches uint8 (B, S, S, 3) as RGB in [0, 1], (B, 3, S, S), on the device; they travel there as bytes."""
    pixels = patches if isinstance(patches, Tensor) else torch.from_numpy(patches)
    return pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255


def device_name(device: torch.device) -> str:
    """The model of an NVIDIA GPU, or the type of another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def n_gpus(name: str) -> int:
    """NVIDIA GPUs of this machine that work on the device `name` may be shared out to; 0 where it is another device."""
    return torch.cuda.device_count() if name in ("auto", "cuda") else 0


def autocast(device: torch.device, dtype: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision of that type, or none."""
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
