"""The sections `augment` and `train`: how it is learnt."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsi_lpd.config.section import Section


class ColourConfig(Section):
    """Changes to the colours of a patch, made on the device; 0 switches a change off."""

    stain: float = Field(0.1, ge=0, description="Spread of haematoxylin, eosin and residual strength (HED jitter).")
    brightness: float = Field(0.1, ge=0, description="Spread of brightness.")
    contrast: float = Field(0.1, ge=0, description="Spread of contrast.")
    blur: float = Field(0.0, ge=0, le=1, description="Share of patches that are blurred slightly.")


class AugmentConfig(ColourConfig):
    """Changes to training patches."""

    flips: bool = Field(True, description="The eight flips and quarter turns.")
    mosaic: float = Field(
        1.0, ge=0, le=1, description="Share of steps in which the encoder sees patches in fours, as one picture."
    )


class TrainConfig(Section):
    """The optimisation."""

    epochs: int = Field(25, ge=1, description="Passes over the patches.")
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimiser steps, whatever `epochs` says."
    )
    batch_size: int = Field(32, ge=1, description="Patches per forward pass of one process.")
    accumulate: int = Field(1, ge=1, description="Forward passes per optimiser step.")
    learning_rate: float | None = Field(
        None, gt=0, description="Highest learning rate; none = 1.2e-2 from random weights, 1e-3 from others."
    )
    prototype_learning_rate: float = Field(1.2e-2, gt=0, description="Highest learning rate of the prototypes.")
    weight_decay: float = Field(
        0.05, ge=0, description="Decay of matrices; never of norms, biases, scales, prototypes."
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of training in which the learning rate rises.")
    clip_norm: float = Field(5.0, gt=0, description="Largest norm of the gradient.")
    precision: Literal["auto", "float32", "bf16", "fp16"] = Field(
        "auto", description="`auto` is bf16 on a GPU that has it, fp16 on an older GPU, float32 on a CPU."
    )
    ema_decay: float = Field(0.99, ge=0, lt=1, description="Decay of the averaged weights (which are what is kept).")
    val_fraction: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="Without --val: about this share of the patches is held out, as whole slides if there are several.",
    )
    channels_last: bool = Field(
        True,
        description="Weights laid out as (H, W, C): convolutions are faster so, on a CPU and in bf16 or fp16 on a GPU.",
    )
    compile: bool = Field(False, description="Compile the network (torch.compile): slow first steps, then faster ones.")
    deterministic: bool = Field(
        False, description="Only operations that give the same bits every time; slower on a GPU, no change on a CPU."
    )
    processes: int = Field(
        1,
        ge=1,
        description="Processes that train together on this machine; on processors 2 may do more than one with threads. "
        "torchrun does the same for several GPUs or machines.",
    )
    workers: int = Field(2, ge=0, description="Processes that read patches; 0 reads in the main one.")
    cache_features: bool = Field(
        False,
        description="Compute the maps of a frozen encoder once and read them from then on; flips are kept as eight "
        "views, changes of colour and mosaics are off.",
    )
    cache_dir: str | None = Field(
        None, description="Folder of cached maps, on a fast disk; none = `features` beside the runs."
    )
    worker_start: Literal["auto", "fork", "spawn", "forkserver"] = Field(
        "auto", description="How they are started; `auto` is what Python does on this system."
    )
    seed: int = Field(0, ge=0, description="Seed of weights, order, augmentation and split.")
    checkpoint_every: int = Field(100, ge=1, description="Optimiser steps between resumable checkpoints.")
    log_every: int = Field(20, ge=1, description="Optimiser steps between lines of metrics.csv.")
    profile: int = Field(
        0, ge=0, description="Record what this many steps spend their time on into trace.json and profile.txt."
    )
    report: bool = Field(True, description="Draw what the prototypes have learnt into the run folder at the end.")
