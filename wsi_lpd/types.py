"""Types shared by all modules. This module imports no other module of the package.

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
"""Label-map value of glass and of everything outside the classes; class i of a model has the value i + 1."""

IGNORE: Final = 255
"""Label-map value of pixels without annotation: never evaluated, never drawn."""


class Box(NamedTuple):
    """An axis-parallel rectangle on the slide, in level-0 pixels; it may extend beyond the slide's edge."""

    x: int
    y: int
    width: int
    height: int


class Size(NamedTuple):
    """Width and height, in pixels of the frame that the variable's name states."""

    width: int
    height: int
