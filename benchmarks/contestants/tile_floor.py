"""The floor of tiling: each native tile that a patch touches decoded once, each patch written to zarr.

    python -m benchmarks.contestants.tile_floor SLIDE COORDS.npz OUT [--threads 2]

Nothing else is timed: no search for tissue, no cutting, no scaling (patches are made from the tiles beforehand).
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
import zarr

from benchmarks.peers.zarr_sink import SHARD_PATCHES, ZarrSink


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, help="a TIFF with JPEG tiles")
    parser.add_argument("coords", type=Path, help="corners (N, 2) and side in level-0 px, patch_px")
    parser.add_argument("out", type=Path, help="zarr array to write")
    parser.add_argument("--threads", type=int, default=2, help="of decoding and of zarr")
    options = parser.parse_args()
    places = np.load(options.coords)
    coords, side, patch_px = places["coords"], int(places["side"]), int(places["patch_px"])
    zarr.config.set({"threading.max_workers": options.threads, "async.concurrency": options.threads})
    with tifffile.TiffFile(options.slide) as tiff, options.slide.open("rb") as stream:
        page = tiff.pages.first
        data = {index: _bytes(page, stream, index) for index in _touched(page, coords, side)}
        tables, colours = page.jpegtables, "RGB" if page.photometric == 2 else "YCBCR"

    def decoded(index: int) -> Any:
        return imagecodecs.jpeg8_decode(data[index], tables=tables, colorspace=colours, outcolorspace="RGB")

    decode_s = _seconds(decoded, list(data), options.threads)
    print(
        json.dumps(
            {
                "decode_s": decode_s,
                "zarr_s": _write_seconds(options.out, coords, side, patch_px, page, decoded),
                "n": len(coords),
                "n_tiles": len(data),
                "megapixels": len(data) * page.tilewidth * page.tilelength / 1e6,
            }
        )
    )


def _bytes(page: Any, stream: Any, index: int) -> bytes:
    stream.seek(page.dataoffsets[index])
    return bytes(stream.read(page.databytecounts[index]))


def _touched(page: Any, coords: Any, side: int) -> list[int]:
    columns = -(-page.imagewidth // page.tilewidth)
    found: set[int] = set()
    for x, y in coords.tolist():
        rows = range(y // page.tilelength, (min(y + side, page.imagelength) - 1) // page.tilelength + 1)
        across = range(x // page.tilewidth, (min(x + side, page.imagewidth) - 1) // page.tilewidth + 1)
        found.update(row * columns + column for row, column in itertools.product(rows, across))
    return sorted(found)


def _seconds(work: Callable[[int], object], items: Sequence[int], threads: int) -> float:
    def done(some: Iterable[int]) -> None:
        for item in some:
            work(item)

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(done, np.array_split(np.array(items), threads)))
    return time.perf_counter() - started


def _write_seconds(out: Path, coords: Any, side: int, patch_px: int, page: Any, decoded: Callable[[int], Any]) -> float:
    """Seconds in zarr alone; a shard of patches at a time is made before its clock starts."""
    sink, seconds = ZarrSink(out, len(coords), patch_px), 0.0
    for start in range(0, len(coords), SHARD_PATCHES):
        patches = [
            _patch(x, y, side, patch_px, page, decoded) for x, y in coords[start : start + SHARD_PATCHES].tolist()
        ]
        started = time.perf_counter()
        for patch in patches:
            sink.add(patch)
        sink.flush()
        seconds += time.perf_counter() - started
    return seconds


def _patch(x: int, y: int, side: int, patch_px: int, page: Any, decoded: Callable[[int], Any]) -> Any:
    tile_w, tile_h, columns = page.tilewidth, page.tilelength, -(-page.imagewidth // page.tilewidth)
    rows, across = range(y // tile_h, (y + side - 1) // tile_h + 1), range(x // tile_w, (x + side - 1) // tile_w + 1)
    whole = np.vstack([np.hstack([decoded(row * columns + column) for column in across]) for row in rows])
    top, left = y - rows[0] * tile_h, x - across[0] * tile_w
    return cv2.resize(whole[top : top + side, left : left + side], (patch_px, patch_px), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
