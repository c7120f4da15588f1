"""Data that the benchmarks train on and score: cohorts, and how large they are."""

from benchmarks.data.cohorts import Cohort, HeldOut, write_share
from benchmarks.data.sizes import SIZES, BenchSize
from benchmarks.data.synthetic import synthetic_cohort, synthetic_settings
from benchmarks.data.wsss4luad import WSSS4LUAD_SETTINGS, wsss4luad_cohort

__all__ = [
    "SIZES",
    "WSSS4LUAD_SETTINGS",
    "BenchSize",
    "Cohort",
    "HeldOut",
    "synthetic_cohort",
    "synthetic_settings",
    "write_share",
    "wsss4luad_cohort",
]
