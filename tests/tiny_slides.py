"""Tiny slides for the tests of patches: lossless, oblong, no two patches alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from wsi_lpd.types import Size

TINY_PX = Size(1500, 1100)


def tissue_pixels(width: int, height: int, *, seed: int = 0) -> np.ndarray:
    """Purple and pink cells on nothing, a white band on the right and below: tissue ends there."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    wave = np.sin(x / 7.3) * np.cos(y / 11.9) + (x + 2 * y) / (width + 2 * height)
    pixels = np.stack([185 - 30 * wave, 95 - 20 * wave + x / width * 20, 165 - 25 * wave + y / height * 20], axis=-1)
    pixels += rng.normal(0, 6, pixels.shape)
    pixels[:, int(0.8 * width) :] = 244
    pixels[int(0.9 * height) :] = 244
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_svs(path: Path, pixels: np.ndarray, *, mpp: float | None) -> Path:
    """A lossless single-level TIFF that OpenSlide opens as Aperio."""
    height, width = pixels.shape[:2]
    stated = "" if mpp is None else f"|AppMag = 40|MPP = {mpp}"
    description = f"Aperio Image Library v11.2.1\n{width}x{height} [0,0 {width}x{height}] (128x128) none{stated}"
    tifffile.imwrite(
        path, pixels, tile=(128, 128), photometric="rgb", compression="deflate", description=description, metadata=None
    )
    return path
