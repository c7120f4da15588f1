"""Generated slides: oblong, without symmetry, every level told apart by its pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from wsi_lpd.types import UInt8Array

WriteSlide = Callable[..., Path]


@pytest.fixture
def picture() -> UInt8Array:
    """Smooth colours that differ along x and y, with fine random grain; (420, 640, 3)."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:420, 0:640]
    smooth = np.stack([x * 0.3 + 30, y * 0.4 + 40, 220 - x * 0.1 - y * 0.2], axis=2)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def write_slide(tmp_path: Path) -> WriteSlide:
    """Writes a lossless tiled pyramid; `description` of Aperio's form makes OpenSlide call it aperio."""

    def write(
        pixels: UInt8Array,
        *,
        name: str = "slide one.svs",
        downsamples: tuple[int, ...] = (1, 2, 4),
        description: str | None = "Aperio Image Library v11\n640x420 (64x64)|AppMag = 20|MPP = 0.499|User = jane doe",
        **options: object,
    ) -> Path:
        path = tmp_path / name
        with tifffile.TiffWriter(path) as tif:
            for downsample in downsamples:
                size = (pixels.shape[1] // downsample, pixels.shape[0] // downsample)
                level = pixels if downsample == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
                tif.write(
                    level,
                    tile=(64, 64),
                    photometric="rgb" if pixels.ndim == 3 else "minisblack",
                    compression="zlib",
                    description=description,
                    metadata=None,
                    **options,
                )
                if downsample == 1 and description is not None:  # Aperio's second page is an untiled thumbnail
                    tif.write(pixels[::8, ::8], photometric="rgb" if pixels.ndim == 3 else "minisblack")
        return path

    return write
