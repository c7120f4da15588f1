"""Opening slides and reading regions: the same pixels by every reader, at every scale, in every process."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from wsi_lpd.errors import SlideError
from wsi_lpd.slide import Slide, open_slide
from wsi_lpd.slide.slide import _bounds as bounds_of
from wsi_lpd.types import Box, Size, UInt8Array

READERS = ["openslide", "tiffslide"]

WriteSlide = Callable[..., Path]


def largest_difference(a: UInt8Array, b: UInt8Array) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("reader", READERS)
def test_facts__are_those_of_the_file(write_slide: WriteSlide, picture: UInt8Array, reader: str) -> None:
    with open_slide(write_slide(picture), reader=reader) as slide:
        assert slide.name == "slide one"
        assert slide.size_px == Size(640, 420)
        assert slide.vendor == "aperio"
        assert slide.mpp == 0.499
        assert slide.objective_power == 20
        assert [level.size_px for level in slide.levels] == [(640, 420), (320, 210), (160, 105)]
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        assert slide.bounds is None


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("box", [Box(0, 0, 640, 420), Box(37, 101, 133, 57), Box(639, 419, 1, 1)])
def test_read__level_0_gives_the_pixels_that_were_written(
    write_slide: WriteSlide, picture: UInt8Array, reader: str, box: Box
) -> None:
    with open_slide(write_slide(picture), reader=reader) as slide:
        read = slide.read(box, Size(box.width, box.height))
    assert np.array_equal(read, picture[box.y : box.y + box.height, box.x : box.x + box.width])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("factor", [2, 4])
def test_read__at_the_scale_of_a_level_gives_that_level(
    write_slide: WriteSlide, picture: UInt8Array, reader: str, factor: int
) -> None:
    expected = cv2.resize(picture, (640 // factor, 420 // factor), interpolation=cv2.INTER_AREA)
    box = Box(30 * factor, 20 * factor, 71 * factor, 53 * factor)
    with open_slide(write_slide(picture), reader=reader) as slide:
        read = slide.read(box, Size(71, 53))
    assert np.array_equal(read, expected[20:73, 30:101])


@pytest.mark.parametrize("reader", READERS)
def test_read__between_levels_averages_the_nearest_finer_one(
    write_slide: WriteSlide, picture: UInt8Array, reader: str
) -> None:
    marked = picture.copy()
    path = write_slide(marked, downsamples=(1, 2))
    with open_slide(path, reader=reader) as slide:
        read = slide.read(Box(60, 120, 360, 240), Size(60, 40))  # a factor of 6: three pixels of level 1
    exact = picture[120:360, 60:420].reshape(40, 6, 60, 6, 3).mean(axis=(1, 3))
    assert np.abs(read - exact).max() <= 1.5  # two roundings


def test_read__level_choice_takes_a_level_a_hair_too_coarse(write_slide: WriteSlide, picture: UInt8Array) -> None:
    odd = picture[:419, :639]  # level 1 is 319 x 209: a downsample of 2.004
    with open_slide(write_slide(odd)) as slide:
        read = slide.read(Box(0, 0, 638, 418), Size(319, 209))
    exact = cv2.resize(odd, (319, 209), interpolation=cv2.INTER_AREA)
    assert largest_difference(read, exact) <= 1


def test_read__tiffslide_starts_at_the_pixel_meant_on_odd_levels(write_slide: WriteSlide, picture: UInt8Array) -> None:
    odd = picture[:419, :637]  # level 1 is 318 x 209: a downsample of 2.004, which TiffSlide divides by and cuts off
    level = cv2.resize(odd, (318, 209), interpolation=cv2.INTER_AREA)
    with open_slide(write_slide(odd), reader="tiffslide") as slide:
        for x, y in ((1, 1), (57, 33), (150, 101), (251, 149)):
            assert np.array_equal(slide._reader.read_region(x, y, 1, 40, 30), level[y : y + 30, x : x + 40])


@pytest.mark.parametrize("reader", READERS)
def test_read__outside_the_slide_is_background(write_slide: WriteSlide, picture: UInt8Array, reader: str) -> None:
    with open_slide(write_slide(picture), reader=reader) as slide:
        read = slide.read(Box(-10, 400, 30, 50), Size(30, 50))
        nowhere = slide.read(Box(5000, -900, 8, 6), Size(4, 3))
    assert np.array_equal(read[:20, 10:], picture[400:420, 0:20])
    assert (read[:, :10] == 255).all()
    assert (read[20:] == 255).all()
    assert nowhere.shape == (3, 4, 3)
    assert (nowhere == 255).all()


def test_read__enlarges_when_asked(write_slide: WriteSlide, picture: UInt8Array) -> None:
    with open_slide(write_slide(picture)) as slide:
        read = slide.read(Box(100, 50, 40, 30), Size(160, 120))
    assert largest_difference(cv2.resize(read, (40, 30), interpolation=cv2.INTER_AREA), picture[50:80, 100:140]) < 30


def test_read__a_large_area_in_blocks_equals_the_whole(
    write_slide: WriteSlide, picture: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_slide(picture, downsamples=(1,))
    with open_slide(path) as slide:
        whole = slide.read(Box(-20, 0, 660, 420), Size(110, 70))
        monkeypatch.setattr("wsi_lpd.slide.resample._BLOCK_PX", 150)
        blocks = slide.read(Box(-20, 0, 660, 420), Size(110, 70))
    assert largest_difference(whole, blocks) <= 1


def test_read__an_empty_box_is_a_mistake_of_the_caller(write_slide: WriteSlide, picture: UInt8Array) -> None:
    with open_slide(write_slide(picture)) as slide, pytest.raises(ValueError, match="at least one pixel"):
        slide.read(Box(0, 0, 0, 5), Size(1, 1))


def test_thumbnail__keeps_the_shape_and_never_enlarges(write_slide: WriteSlide, picture: UInt8Array) -> None:
    with open_slide(write_slide(picture)) as slide:
        assert slide.thumbnail(64).shape == (42, 64, 3)
        assert slide.thumbnail(9999).shape == (420, 640, 3)


@pytest.mark.parametrize("reader", READERS)
def test_grey_slides__become_rgb(write_slide: WriteSlide, picture: UInt8Array, reader: str) -> None:
    grey = picture[..., 1].copy()
    with open_slide(write_slide(grey), reader=reader) as slide:
        assert np.array_equal(slide.read(Box(8, 9, 70, 80), Size(70, 80)), np.repeat(grey[9:89, 8:78, None], 3, axis=2))


def test_missing_tiles__have_the_background_and_set_the_bounds(write_slide: WriteSlide, picture: UInt8Array) -> None:
    """A sparse TIFF, as some scanners write: tiles of zero bytes were never scanned."""
    import tifffile

    path = write_slide(picture, name="sparse.tif", description=None, downsamples=(1,))
    with tifffile.TiffFile(path, mode="r+b") as tif:
        counts = list(tif.pages[0].tags["TileByteCounts"].value)
        counts[:10] = [0] * 10  # the first row of ten tiles
        tif.pages[0].tags["TileByteCounts"].overwrite(counts)
    with open_slide(path) as slide:
        read = slide.read(Box(0, 0, 100, 100), Size(100, 100))
        assert slide.bounds == Box(0, 64, 640, 356)
    assert (read[:64] == 255).all()
    assert np.array_equal(read[64:], picture[64:100, :100])


@pytest.mark.parametrize(("suffix", "exact"), [("png", True), ("jpg", False), ("tif", True)])
def test_plain_images__open_and_need_an_mpp(tmp_path: Path, picture: UInt8Array, suffix: str, exact: bool) -> None:
    path = tmp_path / f"roi.{suffix}"
    Image.fromarray(picture).save(path, quality=95) if suffix == "jpg" else Image.fromarray(picture).save(path)
    with open_slide(path) as slide:
        assert (slide.reader, slide.size_px) == ("image", (640, 420))
        with pytest.raises(SlideError, match="--slide-mpp"):
            _ = slide.mpp
        read = slide.read(Box(100, 50, 90, 70), Size(90, 70))
    difference = np.abs(read.astype(int) - picture[50:120, 100:190]).mean()
    assert difference == 0 if exact else difference < 8
    assert open_slide(path, mpp=0.5).mpp == 0.5


def test_plain_images__transparency_becomes_white(tmp_path: Path, picture: UInt8Array) -> None:
    alpha = np.full((420, 640, 1), 255, np.uint8)
    alpha[:100, :300] = 0
    Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(tmp_path / "roi.png")
    with open_slide(tmp_path / "roi.png") as slide:
        read = slide.read(Box(0, 0, 640, 420), Size(640, 420))
    assert (read[:100, :300] == 255).all()
    assert np.array_equal(read[100:], picture[100:])


@pytest.mark.parametrize("name", ["core.ome.tif", "core.ome.tiff", "core.svs", "core"])
def test_name__has_no_extension(write_slide: WriteSlide, picture: UInt8Array, name: str) -> None:
    assert open_slide(write_slide(picture, name=name)).name == "core"


def test_properties__name_nobody(write_slide: WriteSlide, picture: UInt8Array) -> None:
    description = (
        "Aperio Image Library v11\n640x420|AppMag = 20|MPP = 0.5|User = jane doe|Date = 01/02/24|Time = 09:00:00"
        "|Filename = DOE JANE 1955|Barcode = S24-1234|Patient = doe|ImageID = 99|ScanScope ID = CPAPERIOCS|Title = doe"
    )
    path = write_slide(picture, description=description, datetime="2024:01:02 09:00:00", software="doe scan")
    for reader in READERS:
        properties = repr(dict(open_slide(path, reader=reader).properties)).lower()
        assert "mpp" in properties
        for secret in ("doe", "01/02/24", "09:00", "s24-1234", "cpaperiocs", "2024", "99"):
            assert secret not in properties, (reader, secret)


def test_pickle__reopens_in_another_process(write_slide: WriteSlide, picture: UInt8Array) -> None:
    slide = open_slide(write_slide(picture), mpp=0.7)
    slide.read(Box(0, 0, 8, 8), Size(8, 8))
    copy: Slide = pickle.loads(pickle.dumps(slide))
    assert (copy.mpp, copy.levels, copy.name) == (0.7, slide.levels, slide.name)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_corner, (copy,)) == picture[5, 3].tolist()


def _corner(slide: Slide) -> list[int]:
    return [int(value) for value in slide.read(Box(3, 5, 1, 1), Size(1, 1))[0, 0]]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 warns of forks beside threads
def test_fork__the_child_opens_a_handle_of_its_own(write_slide: WriteSlide, picture: UInt8Array, reader: str) -> None:
    slide = open_slide(write_slide(picture), reader=reader)
    slide.read(Box(0, 0, 300, 300), Size(300, 300))
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:  # nothing may escape from here into pytest
        own = slide.read(Box(40, 50, 300, 300), Size(300, 300))
        n_handles = len(slide._reader._handles._handles)  # type: ignore[attr-defined]
        os.write(sender, b"ok" if np.array_equal(own, picture[50:350, 40:340]) and n_handles == 2 else b"no")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receiver, 2) == b"ok"
    assert np.array_equal(slide.read(Box(1, 2, 30, 20), Size(30, 20)), picture[2:22, 1:31])


def test_threads__read_the_same_slide_at_once(write_slide: WriteSlide, picture: UInt8Array) -> None:
    slide = open_slide(write_slide(picture))
    boxes = [Box(x, y, 60, 50) for x in range(0, 560, 31) for y in range(0, 360, 47)]
    with ThreadPoolExecutor(8) as pool:
        for box, read in zip(boxes, pool.map(lambda b: slide.read(b, Size(60, 50)), boxes), strict=True):
            assert np.array_equal(read, picture[box.y : box.y + 50, box.x : box.x + 60])


def test_close__a_later_read_opens_again(write_slide: WriteSlide, picture: UInt8Array) -> None:
    slide = open_slide(write_slide(picture))
    slide.close()
    slide.close()
    assert np.array_equal(slide.read(Box(0, 0, 9, 7), Size(9, 7)), picture[:7, :9])


def test_fingerprint__follows_the_content(write_slide: WriteSlide, picture: UInt8Array) -> None:
    one = open_slide(write_slide(picture, name="a.svs")).fingerprint
    same = open_slide(write_slide(picture, name="b.svs")).fingerprint
    other = open_slide(write_slide(picture[::-1].copy(), name="c.svs")).fingerprint
    assert one == same != other
    assert one.startswith("sha256:")


def test_url__without_jpeg_tiles_is_read_through_tiffslide(write_slide: WriteSlide, picture: UInt8Array) -> None:
    path = write_slide(picture)
    slide = open_slide(f"file://{path}")
    assert (slide.reader, slide.name) == ("tiffslide", "slide one")
    assert slide.reader_reason == "the slide is remote; its full resolution is not a regular grid of JPEG tiles"
    assert np.array_equal(slide.read(Box(5, 6, 90, 80), Size(90, 80)), picture[6:86, 5:95])
    assert slide.fingerprint == open_slide(path).fingerprint


@pytest.mark.parametrize(
    ("width", "bounds"),
    [("355", Box(-7, 12, 355, 91)), ("--5", None), ("\N{SUPERSCRIPT TWO}", None), ("3.5", None), ("", None)],
)
def test_bounds__that_are_no_integers_are_not_used(width: str, bounds: Box | None) -> None:
    stated = {"x": "-7", "y": "12", "width": width, "height": "91"}
    assert bounds_of({f"openslide.bounds-{name}": text for name, text in stated.items()}) == bounds
