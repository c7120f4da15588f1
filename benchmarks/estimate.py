"""How long runs will take, from what was measured once."""

from __future__ import annotations

from one_run import Job
from sizes import BenchSize

from wsi_lpd.config import Config, load_config

PATCH_PX = 64
CAM_PATCHES_PER_S = 200.0
"""One core, regnety_002, patches of 64 px, training of cam."""
SCORED_PX_PER_S = 60_000.0
"""One core, the whole scoring of held-out images, all gates."""
START_S = 15.0
"""Imports, reading tables, validation."""


def estimated_s(job: Job, size: BenchSize) -> float:
    """Seconds of one run on one core."""
    config = load_config(None, job.settings)
    patches = config.train.batch_size * (config.train.max_steps or 0)
    area = (config.tile.patch_px / PATCH_PX) ** 2
    held_out_px = size.n_held_out * (size.held_out_px * 0.25 / size.mpp) ** 2
    return START_S + patches * area * _cost(config) / CAM_PATCHES_PER_S + held_out_px / SCORED_PX_PER_S


def _cost(config: Config) -> float:
    """Time of a step relative to cam's."""
    if config.method == "lpd-reference":
        return 4.0 if config.loss.similarity_weight > 0 else 1.3
    if config.method == "lpd":
        return 1.5
    return 1.1
