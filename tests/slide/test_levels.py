"""A level is used if it shows the slide: photographs, labels, padded, shifted and foreign levels are left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile

from wsi_lpd.errors import SlideError
from wsi_lpd.slide import open_slide
from wsi_lpd.types import Box, Size

APERIO = "Aperio Image Library v1\n1300x1100 |AppMag = 20|MPP = 0.5"
HALF_UM = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}


def tissue(height=1100, width=1300, seed=2):
    """Two pieces of blotchy tissue on glass, nowhere symmetric."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    blotches = cv2.resize(rng.random((height // 25, width // 25)).astype(np.float32), (width, height))
    image = np.full((height, width, 3), 243, np.float32)
    drift = (seed - 2) * 0.02
    for cx, cy, rx, ry in ((0.36 + drift, 0.45 - drift, 0.26, 0.33), (0.77 - drift, 0.62, 0.12, 0.22 + drift)):
        piece = ((x / width - cx) / rx) ** 2 + ((y / height - cy) / ry) ** 2 < 1
        image[piece] = np.array((225, 150, 190)) - 90 * blotches[piece][:, None] * np.array((1, 0.8, 0.3))
    return (image + rng.integers(-9, 9, image.shape)).clip(0, 255).astype(np.uint8)


def smaller(image, factor):
    height, width = image.shape[:2]
    return cv2.resize(image, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)


def photograph(image):
    """The glass slide from above, with its blue label."""
    photo = np.full((image.shape[0] // 5, image.shape[1] // 5, 3), 225, np.uint8)
    photo[40:120, 20:80] = (30, 60, 160)
    photo[60:90, 140:200] = (190, 130, 160)
    return photo


FAULTS = {
    "a photograph of the glass": photograph,
    "a label": lambda image: np.full((220, 260, 3), (250, 220, 60), np.uint8),
    "one axis changed": lambda image: cv2.resize(image, (650, 640)),
    "padded to the right and below": lambda image: cv2.copyMakeBorder(
        smaller(image, 2), 0, 90, 0, 106, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    ),
    "shifted": lambda image: np.roll(smaller(image, 2), (70, 110), (0, 1)),
    "mirrored": lambda image: np.ascontiguousarray(smaller(image, 2)[:, ::-1]),
    "another slide": lambda image: smaller(tissue(seed=9), 2),
    "inverted": lambda image: 255 - smaller(image, 2),
    "blank": lambda image: np.full((550, 650, 3), 243, np.uint8),
}


def write(path, image, levels, *, compression="jpeg", description=None, tile=(128, 128), **more):
    with tifffile.TiffWriter(path) as file:
        for i, page in enumerate((image, *levels)):
            file.write(
                page, subfiletype=int(i > 0), tile=tile, photometric="rgb", compression=compression, metadata=None,
                description=description if i == 0 else None, **HALF_UM, **more,
            )  # fmt: skip
    return path


@pytest.mark.parametrize("place", ["last", "in the middle"])
@pytest.mark.parametrize(
    ("fault", "compression"), [*((f, "jpeg") for f in FAULTS), *((f, "webp") for f in list(FAULTS)[:3])]
)
def test_a_level_that_shows_something_else__is_left_out_with_one_warning(tmp_path, fault, place, compression):
    image = tissue()
    wrong = FAULTS[fault](image)
    true = smaller(image, 4 if place == "in the middle" else 2)
    levels = [wrong, true] if place == "in the middle" else [true, wrong]
    path = write(tmp_path / "x.tif", image, levels, compression=compression)
    with open_slide(path) as slide:
        assert slide.reader == ("native" if compression == "jpeg" else "tiffslide")
        sizes = [level.size_px for level in slide.levels]
        expected = [shape[1::-1] for shape in (image.shape, true.shape)]
        assert sizes == (expected if compression == "jpeg" else expected[: len(sizes)])
        for warning in slide.warnings:  # OpenSlide and TiffSlide leave some out themselves
            assert f"{wrong.shape[1]}x{wrong.shape[0]} px" in warning
        assert len(slide.warnings) <= 1
        for factor in (2, 4, 8):
            height, width = (side // factor * factor for side in image.shape[:2])
            seen = slide.read(Box(0, 0, width, height), Size(width // factor, height // factor)).astype(int)
            assert np.abs(seen - smaller(image[:height, :width], factor)).mean() < 4


@pytest.mark.parametrize("size", [(1100, 1300), (517, 903), (131, 333), (37, 90)])
@pytest.mark.parametrize("how", ["averaged", "picked", "lossy", "noisy", "paler"])
def test_a_true_level__is_always_used(tmp_path, size, how):
    image = tissue(*size)
    make = {
        "averaged": smaller,
        "picked": lambda image, factor: image[::factor, ::factor],
        "lossy": smaller,
        "noisy": lambda image, factor: smaller(image, factor) ^ np.uint8(7),
        "paler": lambda image, factor: cv2.addWeighted(smaller(image, factor), 0.8, smaller(image, factor), 0.0, 45),
    }[how]
    options = {"compressionargs": {"level": 35}} if how == "lossy" else {}
    path = write(tmp_path / "x.tif", image, [make(image, f) for f in (2, 4, 8, 16)], tile=(64, 64), **options)
    with open_slide(path) as slide:
        assert len(slide.levels) == 5
        assert slide.warnings == ()


@pytest.mark.parametrize("value", [255, 243, 120])
def test_levels_without_structure__are_used(tmp_path, value):
    image = np.full((700, 900, 3), value, np.uint8)
    with open_slide(write(tmp_path / "x.tif", image, [smaller(image, 2), smaller(image, 8)])) as slide:
        assert len(slide.levels) == 3


@pytest.mark.parametrize("sides", [(1_000_000, 1100), (1300, 2_000_000), (70_000, 70_000)])
@pytest.mark.parametrize("compression", ["jpeg", "webp"])
@pytest.mark.parametrize("tiled", [True, False])
def test_a_header_that_claims_more_tiles_than_there_are__is_refused(tmp_path, sides, compression, tiled):
    image = tissue()
    path = tmp_path / "x.tif"
    if tiled:
        write(path, image, [smaller(image, 2)], compression=compression)
    else:
        tifffile.imwrite(path, image, photometric="rgb", rowsperstrip=64, compression=compression, metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages.first.tags
        tags["ImageWidth"].overwrite(sides[0])
        tags["ImageLength"].overwrite(sides[1])
    if not tiled and sides[1] == 1100:
        pytest.skip("strips are as wide as the image: nothing in the directory contradicts the width")
    with pytest.raises(SlideError, match=r"x\.tif: says it is .* px, which takes \d+ (tiles|strips), but holds"):
        open_slide(path)


@pytest.mark.parametrize("compression", ["jpeg", "zlib"])
def test_plain_rectangles__fit_anywhere_along_their_edges_and_are_used(tmp_path, compression):
    image = np.full((1024, 1536, 3), 243, np.uint8)
    image[200:815, 210:1330] = (225, 150, 190)
    path = write(tmp_path / "x.tif", image, [image[::2, ::2], image[::4, ::4]], compression=compression)
    with open_slide(path) as slide:
        assert len(slide.levels) == 3
