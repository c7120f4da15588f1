"""Tissue on drawn thumbnails: stain is found, glass, borders, ink and shadows are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wsi_lpd.config import TissueConfig
from wsi_lpd.slide.tissue import ink
from wsi_lpd.slide.tissue.detect import glass_colour, looks_like_fluorescence, tissue_from_thumbnail
from wsi_lpd.slide.tissue.ink import by_bands, channel_range, optical_density
from wsi_lpd.types import BoolArray, UInt8Array

GLASS = (243, 241, 244)
EOSIN = (215, 130, 175)
HAEMATOXYLIN = (120, 80, 160)
MPP = 8.0


def slide_with(shape: tuple[int, int] = (300, 420), glass: tuple[int, int, int] = GLASS) -> UInt8Array:
    """Glass with a scanner's grain."""
    grain = np.random.default_rng(3).normal(0, 1.2, (*shape, 3))
    return np.clip(np.array(glass) + grain, 0, 255).astype(np.uint8)


def put(image: UInt8Array, colour: tuple[int, int, int], centre: tuple[int, int], axes: tuple[int, int]) -> BoolArray:
    """Draws an ellipse with texture; returns where it is."""
    shape = np.zeros(image.shape[:2], np.uint8)
    cv2.ellipse(shape, centre, axes, 20, 0, 360, 1, -1)
    where = shape > 0
    grain = np.random.default_rng(4).normal(0, 8, (int(where.sum()), 3))
    image[where] = np.clip(np.array(colour) + grain, 0, 255).astype(np.uint8)
    return where


def found(image: UInt8Array, preset: str = "default", **options: float) -> BoolArray:
    return tissue_from_thumbnail(image, mpp=MPP, config=TissueConfig(preset=preset, **options))  # type: ignore[arg-type]


def overlap(a: BoolArray, b: BoolArray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("colour", [EOSIN, HAEMATOXYLIN, (150, 100, 60)], ids=["eosin", "haematoxylin", "dab"])
@pytest.mark.parametrize("glass", [GLASS, (252, 252, 252), (236, 232, 222)], ids=["cool", "white", "warm"])
def test_stain__is_found_on_any_glass(colour: tuple[int, int, int], glass: tuple[int, int, int]) -> None:
    image = slide_with(glass=glass)
    tissue = put(image, colour, (200, 120), (110, 60))
    assert overlap(found(image), tissue) > 0.95


def test_blank__has_no_tissue() -> None:
    assert not found(slide_with()).any()
    assert not found(np.full((30, 41, 3), 255, np.uint8)).any()
    assert not found(np.zeros((30, 41, 3), np.uint8)).any()
    assert not found(slide_with((1, 1))).any()


def test_shadow_dust_and_coverslip__are_grey_and_no_tissue() -> None:
    image = slide_with()
    put(image, (190, 189, 190), (150, 150), (60, 40))
    cv2.line(image, (10, 0), (90, 299), (70, 70, 72), 3)
    image[:40] = np.clip(image[:40].astype(float) * np.linspace(0.7, 1, 40)[:, None, None], 0, 255).astype(np.uint8)
    assert found(image).mean() < 0.005


def test_pale_tissue__is_found_by_the_preset() -> None:
    image = slide_with()
    tissue = put(image, (238, 229, 238), (200, 120), (110, 60))  # 4 % eosin
    assert overlap(found(image, "pale"), tissue) > 0.9
    assert not found(slide_with(), "pale").any()


@pytest.mark.parametrize("border", [(0, 0, 0), (255, 255, 255)], ids=["black", "white"])
def test_staircase_border__is_no_tissue(border: tuple[int, int, int]) -> None:
    image = slide_with()
    tissue = put(image, EOSIN, (220, 150), (100, 60))
    for step in range(4):
        image[step * 40 : step * 40 + 40, : 90 - step * 25] = border
        image[-40 - step * 20 :, -30 - step * 10 :] = border
    assert overlap(found(image), tissue & (image != border).any(axis=2)) > 0.95


@pytest.mark.parametrize(
    "ink",
    [(20, 25, 30), (40, 60, 170), (45, 160, 140), (208, 31, 45), (60, 190, 60), (55, 30, 48)],
    ids=["black", "blue", "teal", "red", "green", "washed black"],
)
def test_pen__is_left_out_on_glass_and_on_tissue(ink: tuple[int, int, int]) -> None:
    image = slide_with()
    tissue = put(image, EOSIN, (250, 150), (120, 80))
    pen = np.zeros(image.shape[:2], np.uint8)
    cv2.line(pen, (20, 30), (230, 200), 1, 22)
    soft = cv2.GaussianBlur(pen.astype(np.float32), (0, 0), 1.5)[..., None]
    passed = (np.array(ink) / 243) ** soft  # ink over tissue multiplies what it lets through
    inked = np.clip(image * passed, 0, 255).astype(np.uint8)
    mask = found(inked)
    assert (mask & (pen > 0)).sum() < 0.03 * (pen > 0).sum()
    assert overlap(mask, tissue & (pen == 0)) > 0.85


def test_grey_scan__goes_by_darkness() -> None:
    image = slide_with()
    tissue = put(image, EOSIN, (200, 120), (110, 60))
    grey = np.repeat(image[..., 1:2], 3, axis=2)
    assert overlap(found(grey), tissue) > 0.9


def test_dark_preset__takes_what_has_no_colour_left() -> None:
    image = slide_with()
    tissue = put(image, (70, 62, 66), (200, 120), (110, 60))
    assert not found(image).any()
    assert overlap(found(image, "dark"), tissue) > 0.9


def test_everything__is_everything() -> None:
    assert found(slide_with(), "everything").all()


def test_areas__small_pieces_go_and_small_holes_close() -> None:
    image = slide_with()
    put(image, EOSIN, (120, 150), (70, 60))
    image[100:112, 100:112] = GLASS  # 9,216 um2
    put(image, HAEMATOXYLIN, (350, 60), (9, 8))  # about 14,500 um2
    assert not found(image)[60, 350]
    assert found(image, min_area_um2=10_000)[60, 350]
    assert not found(image)[106, 106]
    assert found(image, max_hole_um2=12_000)[106, 106]


def test_no_mpp__still_finds_tissue() -> None:
    image = slide_with()
    tissue = put(image, EOSIN, (200, 120), (110, 60))
    assert overlap(tissue_from_thumbnail(image, mpp=None, config=TissueConfig()), tissue) > 0.9


def test_glass__is_the_commonest_bright_grey() -> None:
    image = slide_with()
    image[:120] = 255
    put(image, EOSIN, (200, 220), (110, 60))
    assert np.abs(glass_colour(image) - GLASS).max() <= 2


def test_fluorescence__is_bright_on_dark() -> None:
    dark = np.random.default_rng(1).integers(0, 12, (200, 310, 3), dtype=np.uint8)
    put(dark, (20, 30, 220), (100, 90), (30, 20))
    assert looks_like_fluorescence(dark)


@pytest.mark.parametrize("with_glass", [True, False])
def test_fluorescence__a_slide_on_black_is_bright_field(with_glass: bool) -> None:
    image = np.zeros((300, 420, 3), np.uint8)
    image[60:200, 90:250] = GLASS if with_glass else EOSIN
    put(image, EOSIN, (170, 130), (50, 40))
    assert not looks_like_fluorescence(image)


def test_optical_density__of_every_grey_value_is_the_logarithm_of_what_passes():
    rgb = np.random.default_rng(8).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    glass = np.array([243, 236, 244], np.float32)
    expected = np.maximum(-np.log(np.maximum(rgb.astype(np.float32), 1) / glass), 0)
    np.testing.assert_allclose(optical_density(rgb, glass), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channel_range__is_that_of_each_pixel(dtype):
    image = np.random.default_rng(9).integers(0, 256, (31, 47, 3)).astype(dtype)
    lowest, highest = channel_range(image)
    np.testing.assert_array_equal(lowest, image.min(axis=2))
    np.testing.assert_array_equal(highest, image.max(axis=2))


def test_by_bands__is_what_the_whole_image_gives(monkeypatch):
    monkeypatch.setattr(ink, "_BAND_PX", 200)
    rgb = np.random.default_rng(3).integers(0, 256, (37, 61, 3), dtype=np.uint8)
    seen = []

    def brightest(rows):
        seen.append(len(rows))
        return rows.max(axis=2)

    np.testing.assert_array_equal(by_bands(brightest, rgb), rgb.max(axis=2))
    assert seen == [3] * 12 + [1]


def test_tissue_from_thumbnail__does_not_depend_on_the_bands(monkeypatch):
    image = np.full((220, 310, 3), GLASS, np.uint8)
    put(image, EOSIN, (120, 90), (70, 60))
    whole = tissue_from_thumbnail(image, mpp=8.0, config=TissueConfig())
    monkeypatch.setattr(ink, "_BAND_PX", 1000)
    np.testing.assert_array_equal(tissue_from_thumbnail(image, mpp=8.0, config=TissueConfig()), whole)
    assert 0 < whole.mean() < 1
