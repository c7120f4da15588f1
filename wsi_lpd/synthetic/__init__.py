"""H&E-like whole slides with exact ground truth, for the demo, the tests and the benchmarks."""

from .generate import MAX_MPP, MIN_MPP, MIN_SIDE_PX, SyntheticSlide, find_synthetic_slide, write_synthetic_slide
from .textures import SYNTHETIC_CLASSES

__all__ = [
    "MAX_MPP",
    "MIN_MPP",
    "MIN_SIDE_PX",
    "SYNTHETIC_CLASSES",
    "SyntheticSlide",
    "find_synthetic_slide",
    "write_synthetic_slide",
]
