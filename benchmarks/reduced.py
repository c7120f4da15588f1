"""What a JPEG decoder's reduced sizes differ by from the mean over areas of the whole pixels.

    python benchmarks/reduced.py SLIDE [--side 2048]

For each factor the region is averaged from level 0, and from every size that a decoder makes of it; told is the mean
absolute difference of the two (of 255). Beside it stands what averaging twice does to the whole pixels, which is no
fault of the decoder, and what a shift by a quarter of a pixel does, for comparison.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from wsi_lpd.images.resize import resize
from wsi_lpd.slide.readers.choose import make_reader
from wsi_lpd.slide.readers.native_level import REDUCTIONS
from wsi_lpd.types import Size, UInt8Array

FACTORS = (2, 2.2, 2.5, 3, 3.2, 3.957, 4, 4.5, 5, 6, 7.9, 8, 12, 16)


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--side", type=int, default=2048, help="of the region at the middle, in level-0 px")
    options = parser.parse_args()
    reader, _ = make_reader(str(options.slide), "native")
    size = reader.levels[0].size_px
    width, height = (min(side, options.side) // 16 * 16 for side in size)
    x, y = ((side - part) // 2 // 16 * 16 for side, part in zip(size, (width, height), strict=True))
    whole = reader.read_region(x, y, 0, width, height)
    of_level_0 = {s.reduction: i for i, s in enumerate(reader.sources) if s.reduced_from == size}
    reduced = {r: reader.read_region(x // r, y // r, of_level_0[r], width // r, height // r) for r in of_level_0}
    print(
        "| factor | quarter-pixel shift | "
        + " | ".join(f"decoded at 1/{r} | averaged twice" for r in REDUCTIONS)
        + " |"
    )
    print("| --- " * (2 + 2 * len(REDUCTIONS)) + "|")
    for factor in FACTORS:
        target = Size(round(width / factor), round(height / factor))
        expected = resize(whole, target)
        cells = [f"{factor:g}", f"{apart(shifted(expected), expected):.2f}"]
        for r in REDUCTIONS:
            if r not in reduced or r > factor:
                cells += ["", ""]
                continue
            twice = resize(resize(whole, Size(width // r, height // r)), target)
            cells += [f"{apart(resize(reduced[r], target), expected):.2f}", f"{apart(twice, expected):.2f}"]
        print(f"| {' | '.join(cells)} |")


def apart(a: UInt8Array, b: UInt8Array) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def shifted(image: UInt8Array) -> UInt8Array:
    by = np.array([[1, 0, 0.25], [0, 1, 0.25]])
    moved = cv2.warpAffine(image, by, (image.shape[1], image.shape[0]), borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(np.uint8, copy=False)


if __name__ == "__main__":
    main()
