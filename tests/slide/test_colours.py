"""A picture looks the same whatever its file, as slide and as patch: each coding of colour in each layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from wsi_lpd.errors import LabelError, SlideError
from wsi_lpd.images.files import image_size, read_image
from wsi_lpd.slide import open_slide
from wsi_lpd.types import Box, Size

HEIGHT, WIDTH = 176, 256
RNG = np.random.default_rng(4)
y, x = np.mgrid[:HEIGHT, :WIDTH]
COLOURS = np.stack([200 - y * 0.4, 90 + x * 0.4, 160 + (x + y) % 40], axis=2).astype(np.uint8)
GREY = COLOURS[..., 1]
PALETTE = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
OPACITY = np.where(np.arange(WIDTH) < 200, 255, 0).astype(np.uint8)[None].repeat(HEIGHT, 0)
HALF_UM = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}


def grey(plane):
    return np.repeat(plane[..., None], 3, axis=2)


READ = {
    "rgb": (COLOURS, {"photometric": "rgb"}, COLOURS),
    "rgb of 16 bits": (COLOURS.astype(np.uint16) * 257, {"photometric": "rgb"}, COLOURS),
    "rgb and opacity": (
        np.dstack([COLOURS, OPACITY]),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        np.where(OPACITY[..., None] > 0, COLOURS, np.uint8(255)),
    ),
    "grey": (GREY, {"photometric": "minisblack"}, grey(GREY)),
    "grey of 16 bits": (GREY.astype(np.uint16) * 257, {"photometric": "minisblack"}, grey(GREY)),
    "white is zero": (255 - GREY, {"photometric": "miniswhite"}, grey(GREY)),
    "white is zero of 16 bits": (65535 - GREY.astype(np.uint16) * 257, {"photometric": "miniswhite"}, grey(GREY)),
    "palette": (GREY, {"photometric": "palette", "colormap": PALETTE}, (PALETTE // 257).astype(np.uint8).T[GREY]),
}
REFUSED = {
    "cmyk": (np.dstack([COLOURS, GREY]), {"photometric": "separated"}, "CMYK"),
    "lab": (COLOURS, {"photometric": "cielab"}, "CIELAB"),
    "raw ycbcr": (COLOURS, {"photometric": "ycbcr", "subsampling": (1, 1)}, "YCbCr"),
    "floating point": (COLOURS.astype(np.float32) / 255, {"photometric": "rgb"}, "floating-point"),
    "32 bits": (COLOURS.astype(np.uint32), {"photometric": "rgb"}, "32 bits"),
    "two channels": (
        COLOURS[..., :2],
        {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"]},
        "2 channels",
    ),
}
LAYOUTS = {
    "strips": {},
    "tiles": {"tile": (64, 64)},
    "strips, two pages": {"pages": 2},
    "tiles, two pages": {"tile": (64, 64), "pages": 2},
    "strips, deflate": {"compression": "zlib"},
}


def write(path: Path, pixels, options, *, pages=1, **layout) -> Path:
    with tifffile.TiffWriter(path) as file:
        for i in range(pages):
            file.write(
                pixels[:: i + 1, :: i + 1], subfiletype=int(i > 0), metadata=None, **HALF_UM, **options, **layout
            )
    return path


def as_slide(path: Path):
    with open_slide(path) as slide:
        return slide.read(Box(0, 0, *slide.size_px), slide.size_px)


def as_patch(path: Path):
    """Patches are square; a side above both, and no scaling, would hide a wrong turn, so the width is cut by hand."""
    size = image_size(path)
    side = size.width
    whole = read_image(path, side)
    return cv2.resize(whole, (size.width, size.height), interpolation=cv2.INTER_AREA), size


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("coding", READ)
def test_a_tiff__has_its_true_colours_as_slide_and_as_patch(tmp_path, coding, layout):
    pixels, options, expected = READ[coding]
    path = write(tmp_path / "x.tif", pixels, options, **LAYOUTS[layout])
    np.testing.assert_array_equal(as_slide(path), expected)
    patch, size = as_patch(path)
    assert size == (WIDTH, HEIGHT)
    assert np.abs(patch.astype(int) - expected).mean() < 12, "scaled to a square and back"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("coding", REFUSED)
def test_a_tiff_that_cannot_be_rgb__is_refused_by_name_and_never_called_damaged(tmp_path, coding, layout):
    pixels, options, named = REFUSED[coding]
    path = write(tmp_path / "x.tif", pixels, options, **LAYOUTS[layout])
    messages = []
    for read, kind in ((as_slide, SlideError), (lambda p: read_image(p, 64), LabelError)):
        with pytest.raises(kind, match=named) as caught:
            read(path)
        messages.append(str(caught.value))
        assert "damaged" not in messages[-1]
    assert messages[0] == messages[1]


def test_planes_in_separate_samples__are_read(tmp_path):
    for tile in ({}, {"tile": (64, 64)}):
        options = {"photometric": "rgb", "planarconfig": "separate"}
        pixels = np.moveaxis(COLOURS, -1, 0)
        tifffile.imwrite(tmp_path / "x.tif", pixels, metadata=None, **options, **tile, **HALF_UM)
        np.testing.assert_array_equal(as_slide(tmp_path / "x.tif"), COLOURS)


OME = {"ome": True, "tile": (64, 64)}
UM = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}


def test_red_green_and_blue_as_three_images__are_one_picture(tmp_path):
    path = tmp_path / "x.ome.tif"
    tifffile.imwrite(path, np.moveaxis(COLOURS, -1, 0), photometric="minisblack", metadata={"axes": "CYX", **UM}, **OME)
    np.testing.assert_array_equal(as_slide(path), COLOURS)


@pytest.mark.parametrize(
    ("pixels", "axes", "options", "named"),
    [
        (np.stack([GREY] * 5), "CYX", {"Channel": {"Name": ["DAPI", "FITC", "A", "B", "C"]}}, "5 channels.*DAPI, FITC"),
        (np.stack([GREY, 255 - GREY]), "CYX", {}, "2 channels"),
        (np.stack([COLOURS] * 4), "ZYXS", {}, "4 focal planes"),
        (np.stack([COLOURS] * 3), "TYXS", {}, "3 focal planes or points in time"),
        (np.stack([np.stack([GREY] * 3)] * 2), "ZCYX", {}, "2 focal planes"),
    ],
)
def test_more_channels_or_planes_than_a_picture_has__are_refused_by_name(tmp_path, pixels, axes, options, named):
    path = tmp_path / "x.ome.tif"
    photometric = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, metadata={"axes": axes, **UM, **options}, **OME)
    with pytest.raises(SlideError, match=named):
        open_slide(path)


@pytest.mark.parametrize("tile", [{}, {"tile": (64, 64)}])
def test_a_photograph_before_the_slide__is_told(tmp_path, tile):
    path = tmp_path / "x.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(COLOURS[::2, ::2], photometric="rgb", metadata={"axes": "YXS", "Name": "macro"}, **tile)
        file.write(COLOURS, photometric="rgb", metadata={"axes": "YXS", "Name": "scan", **UM}, **tile)
    with pytest.raises(SlideError, match=r"first image is 'macro', 128x88 px.*image 1, 'scan', 256x176 px.*-series 1"):
        open_slide(path)


@pytest.mark.parametrize("tile", [{}, {"tile": (64, 64)}])
@pytest.mark.parametrize(("pixels", "photometric"), [(COLOURS, "rgb"), (GREY, "minisblack")])
def test_several_pages_of_full_size__are_refused(tmp_path, tile, pixels, photometric):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for _ in range(3):
            file.write(pixels, photometric=photometric, metadata=None, **tile, **HALF_UM)
    with pytest.raises(SlideError, match=r"holds 3 (grey )?images of 256x176 px"):
        open_slide(tmp_path / "x.tif")


@pytest.mark.parametrize("compression", ["jpeg2000", "aperio_jp2000_ycbc", "jpegxl", "webp"])
@pytest.mark.parametrize("tile", [{}, {"tile": (64, 64)}])
def test_modern_codecs__are_read_bit_for_bit(tmp_path, compression, tile):
    photometric = "ycbcr" if "ycbc" in compression else "rgb"
    path = tmp_path / "x.tif"
    options = {"photometric": photometric, "compression": compression}
    tifffile.imwrite(path, COLOURS, metadata=None, **options, **(tile or {"rowsperstrip": HEIGHT}), **HALF_UM)
    np.testing.assert_array_equal(as_slide(path), tifffile.imread(path))


PICTURES = {
    "opacity.png": (Image.fromarray(np.dstack([COLOURS, OPACITY]), "RGBA"), {}),
    "grey16.png": (Image.fromarray(GREY.astype(np.uint16) * 257), {}),
    "palette.png": (Image.fromarray(COLOURS).quantize(40), {}),
    "one bit.png": (Image.fromarray(GREY > 128), {}),
    **{f"turned {n}.jpg": (Image.fromarray(COLOURS), {"exif": n}) for n in range(2, 9)},
    **{f"turned {n}.png": (Image.fromarray(COLOURS), {"exif": n}) for n in (3, 6)},
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture__is_the_same_for_training_and_for_slides(tmp_path, name):
    image, options = PICTURES[name]
    if "exif" in options:
        exif = Image.Exif()
        exif[0x112] = options["exif"]
        options = {"exif": exif, "quality": 95} if name.endswith("jpg") else {"exif": exif}
    image.save(tmp_path / name, **options)
    with open_slide(tmp_path / name, mpp=0.5) as slide:
        assert slide.size_px == image_size(tmp_path / name)
        side = 64
        seen = slide.read(Box(0, 0, *slide.size_px), Size(side, side))
    np.testing.assert_allclose(read_image(tmp_path / name, side), seen, atol=1)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "F"])
def test_a_picture_that_cannot_be_rgb__is_refused_in_the_same_words(tmp_path, mode):
    path = tmp_path / "x.tif"
    source = Image.fromarray(GREY.astype(np.float32)) if mode == "F" else Image.fromarray(COLOURS)
    source.convert(mode).save(path) if mode != "LAB" else Image.merge("LAB", Image.fromarray(COLOURS).split()).save(
        path
    )
    with pytest.raises(SlideError) as slide:
        open_slide(path)
    with pytest.raises(LabelError) as patch:
        read_image(path, 64)
    assert str(slide.value) == str(patch.value)
