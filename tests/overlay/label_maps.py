"""Label maps for the tests: never square, never symmetric."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.types import IGNORE, UInt8Array

VALUES = (0, 1, 2, 3, IGNORE)


def drawn(rows: list[str]) -> UInt8Array:
    """A map from text: digits are labels, `.` is 0 and `x` is 255."""
    code = {".": 0, "x": IGNORE}
    return np.array([[code.get(c, ord(c) - ord("0")) for c in row] for row in rows], dtype=np.uint8)


def noise(height: int, width: int, *, sigma: float, seed: int, speckles: float = 0.0, n_labels: int = 5) -> UInt8Array:
    """Blobs of smoothed noise, with some pixels replaced at random."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.standard_normal((height, width)), sigma) for _ in range(n_labels)]
    label_map = np.argmax(fields, axis=0).astype(np.uint8)
    hit = rng.random((height, width)) < speckles
    label_map[hit] = rng.integers(0, n_labels, int(hit.sum()))
    return label_map


FIXED = {
    "hole": drawn(["......", ".1111.", ".1..1.", ".1111."]),
    "diagonal holes": drawn(["11111", "1.111", "11.11", "11111"]),
    "diagonal neighbours": drawn(["1.2.", ".1.2", "2.1.", ".2.1", "1..."]),
    "ring that meets itself at a corner": drawn(["111..", "1.1..", "11.1.", "...1.", "1111."]),
    "speck in a hole in a region": drawn(["111111", "1....1", "1.22.1", "1....1", "111111"]),
    "label in a hole of another": drawn(["1111", "1221", "1231", "1111", "...."]),
    "checkerboard": drawn(["1212121", "2121212", "1212121"]),
    "ignored among classes": drawn(["11x22", "1xx2.", "111.x"]),
    "ignored at a straight side": drawn(["1111", "1111", "..xx", "..xx", "...."]),
    "edge touches": drawn(["1.2", ".3.", "2.1", "...", "3.3"]),
    "row": drawn(["1122.xx3313"]),
    "column": drawn(["1", "1", "2", "x", ".", "2", "2"]),
    "one pixel": drawn(["3"]),
    "constant": drawn(["2222222", "2222222", "2222222"]),
    "background only": drawn([".....", "....."]),
    "ignored only": drawn(["xxx", "xxx"]),
    "spiral over many seams": drawn(
        ["11111111", "1......1", "1.1111.1", "1.1..1.1", "1.1.11.1", "1.1....1", "1.111111", "1.......", "11111111"]
    ),
    "holes in holes": drawn(
        ["1111111", "1.....1", "1.222.1", "1.2.2.1", "1.222.1", "1.....1", "11x1111", "1...1.1", "1111111"]
    ),
    "diagonals that meet far below": drawn(["1.1.1", ".1.1.", "1.1.1", "11111", "..x..", "2.2.2", ".2.2.", "22222"]),
    "a comb closed at the top": drawn(["1111111", "1.1.1.1", "1.1.1.1", "1.1.121", "1.1.1.1"]),
    "blobs": noise(61, 47, sigma=2.5, seed=1, speckles=0.02),
    "specks": noise(33, 52, sigma=0.4, seed=2),
}

label_maps = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 13), st.integers(1, 11)),
    elements=st.sampled_from(VALUES),
)


def n_components(label_map: UInt8Array) -> int:
    """4-connected components of all classes, counted by scipy label by label."""
    classes = [v for v in np.unique(label_map) if v not in (0, IGNORE)]
    return sum(ndimage.label(label_map == v)[1] for v in classes)


def without_ignored(label_map: UInt8Array) -> UInt8Array:
    """The map that polygons can give back: 255 is drawn by none."""
    return np.where(label_map == IGNORE, np.uint8(0), label_map)


def strips_of(
    label_map: UInt8Array, heights: Sequence[int], *, n_classes: int = 3, n_prototypes: int = 4, seed: int = 0
) -> list[Strip]:
    """The map in strips of these heights, over and over, with random probabilities and prototypes."""
    rng = np.random.default_rng(seed)
    probabilities = rng.integers(0, 256, (n_classes + 1, *label_map.shape), dtype=np.uint8)
    prototypes = rng.integers(0, n_prototypes, label_map.shape, dtype=np.uint8)
    whole = Strip(label_map, probabilities, prototypes)
    tops = [0]
    while tops[-1] < len(label_map):
        tops.append(tops[-1] + heights[(len(tops) - 1) % len(heights)])
    return [whole.between(first, min(last, len(label_map))) for first, last in pairwise(tops)]


strip_heights = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def outlines(polygons: Any, labels: Any) -> list[tuple[int, str]]:
    """Label and every vertex of each region, whatever the order and whichever vertex comes first."""
    texts = shapely.to_wkt(shapely.normalize(polygons))
    return sorted((int(label), text) for label, text in zip(labels, texts, strict=True))
