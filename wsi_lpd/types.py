"""Values that cross module borders. This module imports nothing of ours.

Frame: positions are level-0 pixels, (x, y), pixel corners, y down. Arrays are (..., H, W).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
"""Pixels (H, W, 3) or (N, S, S, 3) in RGB order, or a label map (H, W)."""

UInt16Array = NDArray[np.uint16]
BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
AnyArray = NDArray[Any]

BACKGROUND: Final = 0
"""Label-map value of glass and of everything that is no class; class i of a model has the value i + 1."""

IGNORE: Final = 255
"""Label-map value of pixels that nobody has judged: never scored, never drawn."""


class Box(NamedTuple):
    """An axis-parallel rectangle on the slide, in level-0 pixels; it may reach past the slide's edge."""

    x: int
    y: int
    width: int
    height: int


class Size(NamedTuple):
    """Width and height, in pixels of the frame that the name of the variable states."""

    width: int
    height: int
