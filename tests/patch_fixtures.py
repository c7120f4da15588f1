"""Fixtures of the tests of patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_slides import TINY_PX, tissue_pixels, write_svs

from wsi_lpd.config import TileConfig, TissueConfig
from wsi_lpd.stores.patches_meta import SlideIdentity, StoreMeta
from wsi_lpd.types import Size

MakeSlide = Callable[..., Path]


@pytest.fixture
def make_slide(tmp_path: Path) -> MakeSlide:
    """Writes `<name>.svs` of a size and mpp; returns its path."""

    def make(name: str = "Tiny-1", *, size: Size = TINY_PX, mpp: float | None = 0.25, seed: int = 0) -> Path:
        return write_svs(tmp_path / f"{name}.svs", tissue_pixels(*size, seed=seed), mpp=mpp)

    return make


@pytest.fixture
def tile_config() -> TileConfig:
    """Small patches at half the slide's scale, no tissue detection."""
    return TileConfig(mpp=0.5, patch_px=48, stride_px=40, tissue=TissueConfig(preset="everything"))


@pytest.fixture
def make_meta() -> Callable[..., StoreMeta]:
    """A StoreMeta with some values changed."""

    def make(**changes: object) -> StoreMeta:
        slide = SlideIdentity(
            name="s", fingerprint="sha256:1", size_px=Size(900, 700), vendor=None, bounds=None, mpp=0.25
        )
        values = {
            "slide": slide,
            "mpp": 0.5,
            "mpp_source": "user",
            "patch_px": 20,
            "patch_level0_px": 40,
            "stride_px": 20,
            "level": 0,
            "config": {"min_tissue": 0.5, "label_fraction": 0.05, "tissue": {"preset": "pale", "mask": None}},
            "tissue_mask": None,
            "versions": {"wsi-lpd": "0"},
        }
        return StoreMeta.model_validate({**values, **changes})

    return make
