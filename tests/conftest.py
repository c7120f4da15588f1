"""Fixtures that several rooms use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import tifffile
from hypothesis import settings

from wsi_lpd.types import UInt8Array

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors here are small: threads would only wait for each other

settings.register_profile("wsi-lpd", deadline=None)  # no test is a measurement of time
settings.load_profile("wsi-lpd")

pytest_plugins = ["patch_fixtures"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides: `WSI_LPD_DATA`, else `../shared/data` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WSI_LPD_DATA", beside))
    if not (folder / "wsi").is_dir():
        pytest.skip(f"no real slides at {folder}: set WSI_LPD_DATA to the folder that holds wsi/")
    return folder


@pytest.fixture
def write_slide(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiled pyramid, lossless by default; `description` of Aperio's form makes OpenSlide call it aperio."""

    def write(
        pixels: UInt8Array,
        *,
        name: str = "slide one.svs",
        downsamples: tuple[int, ...] = (1, 2, 4),
        description: str | None = "Aperio Image Library v11\n640x420 (64x64)|AppMag = 20|MPP = 0.499|User = jane doe",
        compression: str = "zlib",
        photometric: str | None = None,
        **options: object,
    ) -> Path:
        path = tmp_path / name
        colours = ("rgb" if pixels.ndim == 3 else "minisblack") if photometric is None else photometric
        with tifffile.TiffWriter(path) as tif:
            for downsample in downsamples:
                size = (pixels.shape[1] // downsample, pixels.shape[0] // downsample)
                level = pixels if downsample == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
                tif.write(
                    level,
                    tile=(64, 64),
                    photometric=colours,
                    compression=compression,
                    description=description,
                    metadata=None,
                    **options,
                )
                if downsample == 1 and description is not None:  # Aperio's second page is an untiled thumbnail
                    tif.write(pixels[::8, ::8], photometric="rgb" if pixels.ndim == 3 else "minisblack")
        return path

    return write
