"""The tissue mask of a slide, and how much tissue a box holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_lpd.config import TissueConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.slide import NotBrightFieldError, Slide, TissueMask, find_tissue, open_slide
from wsi_lpd.slide.tissue.manual_mask import read_manual_mask
from wsi_lpd.types import Box, Size, UInt8Array

WriteSlide = Callable[..., Path]


@pytest.fixture
def stained() -> UInt8Array:
    image = np.full((840, 1280, 3), 243, np.uint8)
    image[200:640, 300:1100] = (210, 120, 170)
    return image


def test_fraction__counts_parts_of_pixels() -> None:
    mask = np.zeros((5, 9), bool)
    mask[1:3, 2:7] = True
    tissue = TissueMask(mask, downsample_x=10.0, downsample_y=4.0)
    truth = np.kron(mask, np.ones((4, 10)))  # (20, 90) in level-0 pixels
    rng = np.random.default_rng(0)
    boxes = np.stack(
        [rng.integers(-20, 90, 300), rng.integers(-9, 20, 300), rng.integers(1, 60, 300), rng.integers(1, 30, 300)], 1
    )
    padded = np.pad(truth, ((50, 50), (100, 100)))
    expected = [padded[y + 50 : y + 50 + h, x + 100 : x + 100 + w].sum() / (w * h) for x, y, w, h in boxes]
    assert np.allclose(tissue.fractions(boxes.astype(np.int64)), expected, atol=1e-6)
    assert tissue.fraction(Box(*boxes[7].tolist())) == pytest.approx(expected[7], abs=1e-6)
    assert tissue.area_px == truth.sum()
    assert tissue.share == pytest.approx(truth.mean())


def test_widened__by_level_0_pixels_along_either_axis() -> None:
    mask = np.zeros((30, 50), bool)
    mask[12, 20:24] = True
    wide = TissueMask(mask, downsample_x=10.0, downsample_y=5.0).widened(31.0)
    y, x = np.indices(mask.shape)
    away_x = np.maximum(np.maximum(20 - x, x - 23), 0) * 10.0
    distance = np.hypot(away_x, np.abs(y - 12) * 5.0)
    assert (wide.downsample_x, wide.downsample_y) == (10.0, 5.0)
    assert wide.mask[distance <= 31 - 10].all()
    assert not wide.mask[distance > 31 + 10].any()
    assert (wide.mask.any(axis=1).nonzero()[0] == np.arange(6, 19)).all()
    assert (wide.mask.any(axis=0).nonzero()[0] == np.arange(17, 27)).all()
    np.testing.assert_array_equal(TissueMask(mask, 10.0, 5.0).widened(2.0).mask, mask)


def test_find__lies_where_the_tissue_is(write_slide: WriteSlide, stained: UInt8Array) -> None:
    with open_slide(write_slide(stained), mpp=2.0) as slide:
        tissue = find_tissue(slide, TissueConfig())
    assert tissue.mask.shape == (210, 320)
    assert (tissue.downsample_x, tissue.downsample_y) == (4.0, 4.0)
    assert tissue.fraction(Box(320, 220, 760, 400)) == 1
    assert tissue.fraction(Box(0, 0, 1280, 190)) == 0
    assert tissue.area_px == pytest.approx(440 * 800, rel=0.03)


def test_find__without_mpp(write_slide: WriteSlide, stained: UInt8Array) -> None:
    with open_slide(write_slide(stained, description=None, name="x.tif")) as slide:
        assert slide.resolution is None
        assert find_tissue(slide, TissueConfig()).area_px == pytest.approx(440 * 800, rel=0.05)


def test_find__fluorescence_is_refused_unless_all_is_taken(write_slide: WriteSlide) -> None:
    dark = np.zeros((420, 640, 3), np.uint8)
    dark[100:200, 100:220, 2] = 200
    with open_slide(write_slide(dark)) as slide:
        with pytest.raises(NotBrightFieldError, match=r"slide one\.svs: is bright on dark"):
            find_tissue(slide, TissueConfig())
        assert find_tissue(slide, TissueConfig(preset="everything")).mask.all()


def test_manual_image__any_scale_of_the_slides_shape(
    write_slide: WriteSlide, stained: UInt8Array, tmp_path: Path
) -> None:
    drawn = np.zeros((84, 128), np.uint8)
    drawn[10:20, 30:90] = 7
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    with open_slide(write_slide(stained), mpp=2.0) as slide:
        tissue = find_tissue(slide, TissueConfig(mask=tmp_path / "mask.png"))
    assert tissue.fraction(Box(300, 100, 600, 100)) == 1
    assert tissue.area_px == pytest.approx(600 * 100, rel=0.02)


def test_manual_image__of_another_shape_is_refused(
    write_slide: WriteSlide, stained: UInt8Array, tmp_path: Path
) -> None:
    Image.fromarray(np.ones((128, 84), np.uint8)).save(tmp_path / "turned.png")
    with open_slide(write_slide(stained)) as slide, pytest.raises(SlideError, match=r"turned\.png.*is 84x128"):
        find_tissue(slide, TissueConfig(mask=tmp_path / "turned.png"))


def rectangle(x: int, y: int, width: int, height: int, name: str | None = None) -> dict[str, object]:
    ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
    properties = {} if name is None else {"classification": {"name": name, "color": [1, 2, 3]}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def write_geojson(path: Path, *features: dict[str, object]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_manual_geojson__areas_less_what_is_ignored(
    write_slide: WriteSlide, stained: UInt8Array, tmp_path: Path
) -> None:
    drawn = write_geojson(
        tmp_path / "mask.geojson",
        rectangle(200, 100, 80, 40, "Ignore*"),
        rectangle(120, 80, 400, 160, "Tumor"),
        rectangle(800, 400, 100, 120),
    )
    with open_slide(write_slide(stained), mpp=2.0) as slide:
        tissue = find_tissue(slide, TissueConfig(mask=drawn))
    assert tissue.fraction(Box(208, 108, 64, 24)) == 0
    assert tissue.fraction(Box(808, 408, 84, 104)) == 1
    assert tissue.area_px == pytest.approx(400 * 160 - 80 * 40 + 100 * 120, rel=0.05)


def test_manual_geojson__coordinates_are_those_of_the_shown_bounds(
    write_slide: WriteSlide, stained: UInt8Array, tmp_path: Path
) -> None:
    drawn = write_geojson(tmp_path / "mask.geojson", rectangle(0, 0, 320, 160))
    with open_slide(write_slide(stained)) as slide:
        slide.bounds = Box(640, 320, 600, 500)
        mask = read_manual_mask(drawn, slide, Size(160, 105))
    assert mask[45:55, 90:110].all()
    assert not mask[:35].any()
    assert not mask[:, :75].any()


def test_manual__missing_or_empty_files_are_reported(
    write_slide: WriteSlide, stained: UInt8Array, tmp_path: Path
) -> None:
    empty = write_geojson(tmp_path / "empty.geojson")
    slide: Slide = open_slide(write_slide(stained))
    with pytest.raises(SlideError, match=r"empty\.geojson: has no areas"):
        find_tissue(slide, TissueConfig(mask=empty))
    with pytest.raises(SlideError, match=r"gone\.png: no such file"):
        find_tissue(slide, TissueConfig(mask=tmp_path / "gone.png"))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("aperio_CMU-1-Small-Region.svs", 0.30, 0.45),
        ("aperio_TCGA-CR-7395-01A-01-TS1.svs", 0.55, 0.68),
        ("wsi-service_CMU-small.tiff", 0.15, 0.24),
        ("google_multiframe_camelyon_challenge_image.dcm", 0.20, 0.29),
    ],
)
def test_real_slides__have_as_much_tissue_as_one_sees(real_data: Path, name: str, low: float, high: float) -> None:
    with open_slide(real_data / "wsi" / name) as slide:
        assert low < find_tissue(slide, TissueConfig()).share < high


@pytest.mark.realdata
def test_real_fluorescence__is_refused(real_data: Path) -> None:
    with (
        open_slide(real_data / "wsi" / "hamamatsu_test3-DAPI-2-(387).ndpi") as slide,
        pytest.raises(NotBrightFieldError),
    ):
        find_tissue(slide, TissueConfig())
