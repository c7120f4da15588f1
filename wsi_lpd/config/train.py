"""The sections `augment` and `train`: how it is learnt."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsi_lpd.config.section import Section


class ColourConfig(Section):
    """Changes to the colours of a patch, made on the device; 0 switches a change off."""

    stain: float = Field(
        0.1, ge=0, description="Spread of the strength of haematoxylin, eosin and residual (HED jitter)."
    )
    brightness: float = Field(0.1, ge=0, description="Spread of the brightness factor.")
    contrast: float = Field(0.1, ge=0, description="Spread of the contrast factor.")
    blur: float = Field(0.0, ge=0, le=1, description="Share of patches that are slightly blurred.")


class AugmentConfig(ColourConfig):
    """Changes to training patches."""

    flips: bool = Field(True, description="Flip and turn patches (all eight ways).")
    mosaic: float = Field(
        1.0, ge=0, le=1, description="Share of steps in which the encoder sees four patches as one picture."
    )


class TrainConfig(Section):
    """The optimisation."""

    epochs: int = Field(25, ge=1, description="Passes over the patches.")
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimiser steps, whatever `epochs` says; null = no limit."
    )
    batch_size: int = Field(32, ge=1, description="Patches per forward pass and process.")
    accumulate: int = Field(1, ge=1, description="Forward passes per optimiser step.")
    learning_rate: float | None = Field(
        None, gt=0, description="Peak learning rate; null = 0.012 from random weights, 0.001 from others."
    )
    prototype_learning_rate: float = Field(1.2e-2, gt=0, description="Peak learning rate of the prototypes.")
    weight_decay: float = Field(
        0.05, ge=0, description="Weight decay of matrices; norms, biases, scales and prototypes have none."
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of training in which the learning rate rises.")
    clip_norm: float = Field(5.0, gt=0, description="Gradients are clipped to this norm.")
    precision: Literal["auto", "float32", "bf16", "fp16"] = Field(
        "auto",
        description=(
            "Number format of the forward pass: `auto` is bf16 on GPUs that have it, fp16 on older ones, "
            "float32 on a CPU."
        ),
    )
    ema_decay: float = Field(
        0.99, ge=0, lt=1, description="Decay of the moving average of the weights, which is what a run keeps."
    )
    val_fraction: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="Without --val: about this share of the patches is held out, as whole slides if there are several.",
    )
    channels_last: bool = Field(
        True,
        description="Keep tensors in memory as (H, W, C): faster convolutions on a CPU and in half precision on a GPU.",
    )
    compile: bool = Field(
        False, description="Compile the network with torch.compile: slow first steps, faster ones after."
    )
    deterministic: bool = Field(
        False, description="Use only operations that give the same bits every time; slower on a GPU."
    )
    processes: int = Field(
        1,
        ge=1,
        description=(
            "Processes that train together on this machine; on a CPU, 2 may be faster than threads. For "
            "several GPUs or machines use torchrun."
        ),
    )
    workers: int = Field(2, ge=0, description="Processes that read patches; 0 reads in the main process.")
    cache_features: bool = Field(
        False,
        description=(
            "Compute the maps of a frozen encoder once and read them afterwards; flips are kept as eight "
            "views, colour changes and mosaics are off."
        ),
    )
    cache_dir: str | None = Field(
        None, description="Folder of the cached maps, best on a fast disk; null = `features` beside the runs."
    )
    worker_start: Literal["auto", "fork", "spawn", "forkserver"] = Field(
        "auto", description="How reading processes start; `auto` is Python's default on this system."
    )
    seed: int = Field(0, ge=0, description="Seed of weights, order, augmentation and split.")
    checkpoint_every: int = Field(
        100, ge=1, description="Optimiser steps between checkpoints from which a run can resume."
    )
    log_every: int = Field(20, ge=1, description="Optimiser steps between rows of metrics.csv.")
    profile: int = Field(0, ge=0, description="Profile this many steps into trace.json and profile.txt; 0 = off.")
    report: bool = Field(True, description="Draw what the prototypes have learnt into the run folder at the end.")
