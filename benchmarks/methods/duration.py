"""How long runs will take on a CPU, estimated from the processor time of a slow core with torch 2.14."""

from __future__ import annotations

from benchmarks.data import BenchSize
from benchmarks.methods.job import Job
from wsi_lpd.config import Config, load_config

PATCH_PX = 64
CAM_PATCHES_PER_S = 190.0
"""Training cam with regnety_002 on patches of 64 px; a fast core does 340. Other encoders count as this one."""
COST = {
    "cam": 1.0,
    "pbip": 1.1,
    "lpd": 1.5,
    "lpd-reference": 1.0,
    "pscl": 1.0,
    "mlps": 1.0,
    "tpro": 1.1,
    "uam": 1.4,
    "decoder": 1.2,
}
"""Seconds of a late step relative to cam's, without the crops of the published refiner."""
CROPS_COST = 3.9
SCORED_PX_PER_S = {"none": 130_000.0, "pamr": 58_000.0, "guided": 90_000.0}
"""Scoring held-out images under all gates, by refinement."""
WSSS4LUAD_HELD_OUT_PX = 3.3e6
START_S = 15.0
"""Imports, reading tables, validation."""


def estimated_s(job: Job, size: BenchSize) -> float:
    """Seconds of one run on one core."""
    config = load_config(None, job.settings)
    patches = config.train.batch_size * (config.train.max_steps or 0)
    area = (config.tile.patch_px / PATCH_PX) ** 2
    synthetic_px = size.n_held_out * (size.held_out_px * 0.25 / size.mpp) ** 2
    held_out_px = synthetic_px if job.cohort == "synthetic" else WSSS4LUAD_HELD_OUT_PX
    scoring_s = sum(held_out_px / SCORED_PX_PER_S[name] for name in job.refinements)
    return START_S + patches * area * _cost(config) / CAM_PATCHES_PER_S + scoring_s


def _cost(config: Config) -> float:
    crops = config.method == "lpd-reference" and config.loss.similarity_weight > 0
    return COST.get(config.method, 1.0) + (CROPS_COST if crops else 0.0)
