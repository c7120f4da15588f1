"""The slide as other programs see it, and its truth."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from qupath_rules import check_overlay_file
from scipy import ndimage

from wsi_lpd.errors import SlideError
from wsi_lpd.overlay.raster.rasterize import rasterize
from wsi_lpd.qupath.read import load_overlay
from wsi_lpd.synthetic import (
    SYNTHETIC_CLASSES,
    find_synthetic_slide,
    generate,
    truth,
    write_synthetic_slide,
    writer,
)
from wsi_lpd.synthetic.painter import Painter
from wsi_lpd.types import Size


def read_overlay(path):
    return [(annotation.class_name, annotation.geometry) for annotation in load_overlay(path).annotations]


SMALL = {"size_px": Size(2301, 1702), "mpp": 0.5, "seed": 5}
"""Oblong, and no multiple of a tile, of four pixels or of a truth pixel."""


@pytest.fixture(scope="module")
def small_slide(tmp_path_factory):
    return write_synthetic_slide(tmp_path_factory.mktemp("synthetic") / "small.svs", **SMALL, threads=2)


def pixels(path, level=0):
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))[..., :3]


def luma(rgb):
    """Brightness, which JPEG keeps at full resolution."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def test_openslide__sees_an_aperio_pyramid(small_slide):
    with openslide.OpenSlide(small_slide.path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert float(slide.properties["openslide.mpp-x"]) == float(slide.properties["openslide.mpp-y"]) == 0.5
        assert slide.properties["openslide.objective-power"] == "20"
        assert slide.level_dimensions == ((2301, 1702), (575, 425), (143, 106))
        assert slide.properties["openslide.level[0].tile-width"] == "256"
        assert not slide.associated_images


def test_openslide__reads_the_tiles_that_tifffile_reads(small_slide):
    """Two decoders that share no code find the same tiles in the same places."""
    theirs = tifffile.imread(small_slide.path, level=0).astype(int)
    assert theirs.shape == (1702, 2301, 3)
    assert np.abs(pixels(small_slide.path) - theirs).mean() < 1


@pytest.mark.parametrize("level", [1, 2])
def test_levels__are_area_averages(small_slide, level):
    factor = 4**level
    coarse = luma(pixels(small_slide.path, level)).astype(float)
    height, width = coarse.shape
    fine = luma(pixels(small_slide.path))[: height * factor, : width * factor]
    mean = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(float)
    here = np.abs(coarse - mean).mean()
    assert here < 6  # what JPEG costs on so busy a picture
    assert abs((coarse - mean).mean()) < 0.2
    for shift in ((0, 1), (1, 0)):
        assert here < 0.5 * np.abs(coarse - np.roll(mean, shift, axis=(0, 1))).mean()


def test_truth__is_what_the_pixels_were_painted_from(small_slide):
    labels = tifffile.imread(small_slide.truth_image)
    assert labels.shape == (213, 288)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == set(range(len(SYNTHETIC_CLASSES) + 1))
    rgb = pixels(small_slide.path)[4::8, 4::8].astype(float)
    labels = labels[: rgb.shape[0], : rgb.shape[1]]
    glass = ndimage.binary_erosion(labels == 0, iterations=2)
    tissue = ndimage.binary_erosion(labels > 0, iterations=2)
    assert (rgb[glass].min(axis=1) > 200).mean() > 0.98
    assert rgb[glass].mean() - rgb[tissue].mean() > 40


def test_truth__is_the_class_of_the_pixel_in_the_middle_of_each_square(small_slide):
    with ThreadPoolExecutor(1) as pool:
        painter = Painter(SMALL["size_px"], mpp=0.5, seed=5, pen_marks=False, pool=pool)
    classes = painter.block(1, 0).classes
    labels = tifffile.imread(small_slide.truth_image)[:128, 128:256]
    np.testing.assert_array_equal(labels, classes[4::8, 4::8])
    assert (labels != classes[::8, ::8]).any()
    assert len(np.unique(labels)) >= 4


def test_truth__lies_at_its_place_to_the_pixel(small_slide):
    """Edges of the tissue in the picture and in the truth agree best where they are, not a truth pixel beside."""
    picture = cv2.cvtColor(pixels(small_slide.path), cv2.COLOR_RGB2GRAY)[: 212 * 8, : 287 * 8]
    dark = cv2.resize(255 - picture, (287, 212), interpolation=cv2.INTER_AREA).astype(float)
    tissue = (tifffile.imread(small_slide.truth_image)[:212, :287] > 0).astype(float)
    here = np.corrcoef(dark.ravel(), tissue.ravel())[0, 1]
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        assert here > np.corrcoef(dark.ravel(), np.roll(tissue, shift, axis=(0, 1)).ravel())[0, 1]


def test_truth__states_its_resolution_and_shows_class_colours(small_slide):
    with tifffile.TiffFile(small_slide.truth_image) as tiff:
        page = tiff.pages.first
        x, unit = page.tags["XResolution"].value, page.tags["ResolutionUnit"].value
        assert unit == 3
        assert 1e4 / (x[0] / x[1]) == pytest.approx(0.5 * small_slide.truth_downsample, rel=1e-4)
        assert tuple(page.colormap[:, 1] // 257) == (200, 0, 0)


def drawn(path):
    """The regions of an overlay as a label map of the small slide's level 0."""
    regions = read_overlay(path)
    assert {name for name, _ in regions} == set(SYNTHETIC_CLASSES)
    bounds = np.array([geometry.bounds for _, geometry in regions])
    assert bounds.min() >= 0
    assert bounds[:, 2].max() <= 2301
    assert bounds[:, 3].max() <= 1702
    shapes = np.array([geometry for _, geometry in regions], dtype=object)
    labels = np.array([SYNTHETIC_CLASSES.index(name) + 1 for name, _ in regions], np.uint8)
    return rasterize(shapes, labels, (1702, 2301))


def test_truth_geojson__gives_the_truth_image_back(small_slide):
    assert check_overlay_file(small_slide.truth_geojson) == []
    label_map = tifffile.imread(small_slide.truth_image).repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(drawn(small_slide.truth_geojson), label_map[:1702, :2301])


def test_truth_geojson__traced_in_squares_covers_the_same(small_slide, tmp_path, monkeypatch):
    monkeypatch.setattr(truth, "_SQUARE_PX", 128)
    path = tmp_path / "cut.geojson"
    n = truth.write_truth_geojson(
        path, small_slide.truth_image, size_px=small_slide.size_px, downsample=8, slide="small"
    )
    assert n > len(read_overlay(small_slide.truth_geojson))
    assert check_overlay_file(path) == []
    np.testing.assert_array_equal(drawn(path), drawn(small_slide.truth_geojson))


def test_write__is_the_same_for_any_number_of_threads(small_slide, tmp_path):
    again = write_synthetic_slide(tmp_path / "again.svs", **SMALL, threads=3, geojson=False)
    assert again.path.read_bytes() == small_slide.path.read_bytes()
    assert again.truth_image.read_bytes() == small_slide.truth_image.read_bytes()
    assert again.truth_geojson is None
    assert not (tmp_path / "again.truth.geojson").exists()


def test_write__another_seed_is_another_slide(small_slide, tmp_path):
    other = write_synthetic_slide(tmp_path / "other.svs", **{**SMALL, "seed": 6}, geojson=False)
    truths = [tifffile.imread(slide.truth_image) for slide in (small_slide, other)]
    assert (truths[0] != truths[1]).mean() > 0.2
    colours = []
    for slide, labels in zip((small_slide, other), truths, strict=True):
        rgb = pixels(slide.path)[4::8, 4::8]
        colours.append(np.median(rgb[labels[: rgb.shape[0], : rgb.shape[1]] > 0], axis=0))
    assert np.abs(colours[0] - colours[1]).max() > 5


def test_write__pen_marks_change_the_picture_but_not_the_truth(small_slide, tmp_path):
    marked = write_synthetic_slide(tmp_path / "marked.svs", **SMALL, pen_marks=True, geojson=False)
    assert marked.truth_image.read_bytes() == small_slide.truth_image.read_bytes()
    change = np.abs(pixels(marked.path).astype(int) - pixels(small_slide.path)).max(axis=2)
    assert 0.005 < (change > 60).mean() < 0.3
    assert (change < 12).mean() > 0.6


@pytest.mark.parametrize(("width", "height", "mpp"), [(257, 1030, 1.0), (1100, 300, 0.25), (1024, 1100, 2.0)])
def test_write__odd_sizes(tmp_path, width, height, mpp):
    slide = write_synthetic_slide(tmp_path / "a.svs", size_px=Size(width, height), seed=1, mpp=mpp, truth_downsample=16)
    with openslide.OpenSlide(slide.path) as opened:
        assert opened.dimensions == (width, height)
        assert opened.level_dimensions[2] == (width // 16, height // 16)
        assert float(opened.properties["openslide.mpp-x"]) == mpp
        last = np.asarray(opened.read_region((width - 9, height - 7), 0, (9, 7)))
        assert (last[..., 3] == 255).all()
    assert tifffile.imread(slide.truth_image).shape == (-(-height // 16), -(-width // 16))


def test_write__bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_BIG_FROM_PX", 300_000)
    slide = write_synthetic_slide(tmp_path / "big.svs", size_px=Size(1100, 600), seed=2, mpp=1.0, geojson=False)
    with tifffile.TiffFile(slide.path) as tiff:
        assert tiff.is_bigtiff
    with openslide.OpenSlide(slide.path) as opened:
        assert opened.properties["openslide.vendor"] == "aperio"


def test_write__that_fails_leaves_nothing(tmp_path, monkeypatch):
    encode = writer.encode_block
    calls = []

    def failing(block, downsample):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("disk full")
        return encode(block, downsample)

    monkeypatch.setattr(generate, "encode_block", failing)
    with pytest.raises(OSError, match="disk full"):
        write_synthetic_slide(tmp_path / "a.svs", size_px=Size(1100, 1180), seed=1, mpp=1.0, threads=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_px": Size(255, 900)}, "size is 255 x 900 px; expected"),
        ({"seed": -1}, "seed is -1; expected 0"),
        ({"mpp": 0.05}, "mpp is 0.05; expected"),
        ({"mpp": float("nan")}, "mpp is nan; expected"),
        ({"truth_downsample": 3}, "downsample is 3; expected"),
    ],
)
def test_write__refuses_what_it_cannot_do(tmp_path, change, message):
    with pytest.raises(SlideError, match=message):
        write_synthetic_slide(tmp_path / "a.svs", **{**SMALL, **change})
    assert list(tmp_path.iterdir()) == []


def test_find__knows_its_slide_and_no_other(small_slide):
    assert find_synthetic_slide(small_slide.path, **SMALL) == small_slide
    assert find_synthetic_slide(small_slide.path.with_name("none.svs"), **SMALL) is None
    with pytest.raises(SlideError, match=r"seed = 5.*seed = 4.*--overwrite"):
        find_synthetic_slide(small_slide.path, **{**SMALL, "seed": 4})


@pytest.mark.slow
def test_write__memory_does_not_grow_with_height(tmp_path):
    peaks = []
    for height in (1_300, 6_000):
        tracemalloc.start()
        write_synthetic_slide(
            tmp_path / "tall.svs", size_px=Size(600, height), seed=3, mpp=1.0, geojson=False, threads=1
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0] + 1e6


@pytest.mark.slow
def test_write__resident_memory_does_not_grow_with_height(tmp_path):
    program = (
        "import resource, sys; from pathlib import Path; from wsi_lpd.types import Size\n"
        "from wsi_lpd.synthetic import write_synthetic_slide\n"
        "write_synthetic_slide(Path(sys.argv[1]), size_px=Size(3000, int(sys.argv[2])), seed=3, threads=2)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for height in (10_000, 60_000):
        command = [sys.executable, "-c", program, str(tmp_path / "tall.svs"), str(height)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 1.15 * peaks[0]
