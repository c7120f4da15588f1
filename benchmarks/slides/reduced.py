"""How far a JPEG decoder's reduced sizes are from the area average of the full-size pixels.

    python -m benchmarks.slides.reduced SLIDE [--side 2048]

For each factor the region is averaged from level 0, and from every size that the decoder can make of it; printed is the
mean absolute difference of the two (of 255). For comparison: what averaging the full-size pixels twice changes, which
is no fault of the decoder, and what a shift by a quarter of a pixel changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from benchmarks.measuring import parser_of, table
from wsi_lpd.images.resize import resize
from wsi_lpd.slide.readers.choose import make_reader
from wsi_lpd.slide.readers.native_level import REDUCTIONS
from wsi_lpd.types import Size, UInt8Array

FACTORS = (2, 2.2, 2.5, 3, 3.2, 3.957, 4, 4.5, 5, 6, 7.9, 8, 12, 16)


def main() -> None:
    """Prints one table."""
    parser = parser_of(__doc__)
    parser.add_argument("slide", type=Path, help="a TIFF with JPEG tiles")
    parser.add_argument("--side", type=int, default=2048, help="of the region in the middle, in level-0 px")
    options = parser.parse_args()
    reader, _ = make_reader(str(options.slide), "native")
    size = reader.levels[0].size_px
    width, height = (min(side, options.side) // 16 * 16 for side in size)
    x, y = ((side - part) // 2 // 16 * 16 for side, part in zip(size, (width, height), strict=True))
    full = reader.read_region(x, y, 0, width, height)
    of_level_0 = {s.reduction: i for i, s in enumerate(reader.sources) if s.reduced_from == size}
    reduced = {r: reader.read_region(x // r, y // r, of_level_0[r], width // r, height // r) for r in of_level_0}
    columns = ["factor", "quarter-pixel shift"]
    columns += [name for r in REDUCTIONS for name in (f"decoded at 1/{r}", "averaged twice")]
    print(table(columns, [_cells(full, reduced, factor) for factor in FACTORS]))


def _cells(full: UInt8Array, reduced: Mapping[int, UInt8Array], factor: float) -> list[str]:
    """The line of a factor; empty where the decoder has no such size, or one smaller than asked for."""
    height, width = full.shape[:2]
    target = Size(round(width / factor), round(height / factor))
    expected = resize(full, target)
    cells = [f"{factor:g}", f"{mean_difference(shifted(expected), expected):.2f}"]
    for r in REDUCTIONS:
        if r not in reduced or r > factor:
            cells += ["", ""]
            continue
        twice = resize(resize(full, Size(width // r, height // r)), target)
        decoded = resize(reduced[r], target)
        cells += [f"{mean_difference(image, expected):.2f}" for image in (decoded, twice)]
    return cells


def mean_difference(a: UInt8Array, b: UInt8Array) -> float:
    """Mean absolute difference of two images of one shape, of 255."""
    return float(np.abs(a.astype(np.int16) - b).mean())


def shifted(image: UInt8Array) -> UInt8Array:
    """The image moved right and down by a quarter of a pixel."""
    by = np.array([[1, 0, 0.25], [0, 1, 0.25]])
    moved = cv2.warpAffine(image, by, (image.shape[1], image.shape[0]), borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(np.uint8, copy=False)


if __name__ == "__main__":
    main()
