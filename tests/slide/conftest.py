"""Generated slides: oblong, without symmetry, with levels that differ in their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from wsi_lpd.types import UInt8Array


@pytest.fixture
def picture() -> UInt8Array:
    """Smooth colours that differ along x and y, with fine random grain; (420, 640, 3)."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:420, 0:640]
    smooth = np.stack([x * 0.3 + 30, y * 0.4 + 40, 220 - x * 0.1 - y * 0.2], axis=2)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
