"""Parameter groups and the learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from wsi_lpd.config import Config


def build_optimizer(network: nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW with groups: matrices (decayed), prototypes and a decoder's head (their own rates), and all else.

    Norms, biases, scales, offsets and prototypes are not decayed: pulling them to zero has no meaning. With
    `reference.decay_everything` the method lpd-reference decays them, as the published code does.
    """
    decayed, plain, prototypes = [], [], []
    head, head_plain = [], []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith("prototypes.vectors"):
            prototypes.append(parameter)
        elif name.startswith("head."):
            (head_plain if parameter.ndim < 2 else head).append(parameter)
        elif parameter.ndim < 2 or name.endswith(".offsets"):
            plain.append(parameter)
        else:
            decayed.append(parameter)
    settings, rate = config.train, config.peak_learning_rate
    decays_all = config.method == "lpd-reference" and config.reference.decay_everything
    other_decay = settings.weight_decay if decays_all else 0.0
    groups = [
        {"params": decayed, "peak": rate, "weight_decay": settings.weight_decay},
        {"params": plain, "peak": rate, "weight_decay": other_decay},
        {"params": prototypes, "peak": settings.prototype_learning_rate, "weight_decay": other_decay},
        {"params": head, "peak": config.decoder.peak_learning_rate, "weight_decay": settings.weight_decay},
        {"params": head_plain, "peak": config.decoder.peak_learning_rate, "weight_decay": other_decay},
    ]
    # One kernel, which unlike torch's other forms does not ask the device for its step number.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in network.parameters())
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, fused=fused)


def rate_factor(step: int, total_steps: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: a linear rise, then half a cosine down to 1 % of it."""
    rise = max(1, round(warmup * total_steps))
    if step < rise:
        return (step + 1) / rise
    progress = (step - rise) / max(1, total_steps - rise)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Puts every group at `factor` of its peak; a pure function of the step, so a resumed run needs no history."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
