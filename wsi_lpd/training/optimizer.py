"""Parameter groups and the learning rate."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import nn

from wsi_lpd.config import Config


def build_optimizer(network: nn.Module, config: Config, *, decays_everything: bool = False) -> torch.optim.AdamW:
    """AdamW with groups: matrices (decayed), prototypes and a decoder's head (their own rates), and all else.

    Norms, biases, scales, offsets and prototypes are not decayed: pulling them to zero has no meaning. A method may
    ask for it all the same (`Method.decays_everything`).
    """
    settings, rate = config.train, config.peak_learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_prototype = name.endswith("prototypes.vectors")
        peak = config.decoder.peak_learning_rate if name.startswith("head.") else rate
        peak = settings.prototype_learning_rate if is_prototype else peak
        decays = decays_everything or not (parameter.ndim < 2 or is_prototype or name.endswith(".offsets"))
        groups[peak, settings.weight_decay if decays else 0.0].append(parameter)
    # One kernel, which unlike torch's other forms does not ask the device for its step number.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in network.parameters())
    of_groups = [
        {"params": parameters, "peak": peak, "weight_decay": decay} for (peak, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(of_groups, lr=rate, fused=fused)


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
