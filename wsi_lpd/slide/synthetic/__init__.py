"""H&E-like whole slides with exact ground truth, for the demo, the tests and the benchmarks."""

from .generate import SyntheticSlide, write_synthetic_slide
from .textures import SYNTHETIC_CLASSES

__all__ = ["SYNTHETIC_CLASSES", "SyntheticSlide", "write_synthetic_slide"]
