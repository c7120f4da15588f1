"""A slide of any size from a small one, by repeating its JPEG tiles: gigapixels, written in minutes.

python -m benchmarks.contestants.big_slide SOURCE OUT WIDTH HEIGHT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile


def write_repeated(source: Path, out: Path, width: int, height: int) -> None:
    """Writes all levels of `source` to `out`, each repeated to the right and downwards.

    Args:
        source: Tiled JPEG TIFF, each level a whole number of tiles wide and high.
        out: BigTIFF.
        width: Of level 0.
        height: Of level 0.
    """
    with tifffile.TiffFile(source) as tiff, tifffile.TiffWriter(out, bigtiff=True) as writer:
        first = tiff.pages.first.aspage()
        for page in (page.aspage() for page in tiff.pages):
            downsample = round(first.imagewidth / page.imagewidth)
            writer.write(
                _tiles(tiff, page, width // downsample, height // downsample),
                shape=(height // downsample, width // downsample, 3),
                dtype=np.uint8,
                tile=(page.tilelength, page.tilewidth),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=0 if downsample == 1 else 1,
                description=page.description.replace(f"{first.imagewidth}x{first.imagelength}", f"{width}x{height}"),
                metadata=None,
                software=False,
                resolution=page.resolution,
                resolutionunit=page.resolutionunit,
            )


def _tiles(tiff: Any, page: Any, width: int, height: int) -> Iterator[bytes]:
    across, down = page.imagewidth // page.tilewidth, page.imagelength // page.tilelength
    if (across * page.tilewidth, down * page.tilelength) != (page.imagewidth, page.imagelength):
        raise ValueError("a level of the source is not a whole number of tiles wide and high")
    handle = tiff.filehandle
    data = []
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        handle.seek(offset)
        data.append(handle.read(count))
    for row in range(-(-height // page.tilelength)):
        for column in range(-(-width // page.tilewidth)):
            yield data[row % down * across + column % across]


if __name__ == "__main__":
    write_repeated(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
