"""JPEG tiles decoded directly: the pixels of OpenSlide, each tile once, and the way back where it cannot be done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from wsi_lpd.errors import SlideError
from wsi_lpd.slide import open_slide
from wsi_lpd.slide.readers.native_level import NativeLevel
from wsi_lpd.slide.readers.native_reader import native_reader
from wsi_lpd.slide.readers.openslide_reader import OpenSlideReader
from wsi_lpd.slide.readers.tile_cache import TileCache
from wsi_lpd.slide.resample import choose_source
from wsi_lpd.synthetic import write_synthetic_slide
from wsi_lpd.types import Box, Size, UInt8Array

WriteSlide = Callable[..., Path]
BOXES = [
    Box(0, 0, 640, 420),
    Box(37, 101, 133, 57),
    Box(64, 128, 128, 64),
    Box(-20, -9, 300, 200),
    Box(600, 400, 90, 77),
]


@pytest.fixture(scope="module")
def stained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An H&E-like slide of 256-px tiles with 4:2:0 colours, levels 1, 4 and 16."""
    path = tmp_path_factory.mktemp("native") / "stained.svs"
    return write_synthetic_slide(path, size_px=Size(2048, 1536), seed=7).path


def mean_difference(a: UInt8Array, b: UInt8Array) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("box", BOXES)
def test_pixels__are_those_of_openslide(
    write_slide: WriteSlide, picture: UInt8Array, photometric: str, box: Box
) -> None:
    path = write_slide(picture, compression="jpeg", photometric=photometric)
    size = Size(box.width, box.height)
    with open_slide(path) as ours, open_slide(path, reader="openslide") as theirs:
        assert (ours.reader, theirs.reader) == ("native", "openslide")
        assert ours.levels == theirs.levels
        assert ours.properties == theirs.properties
        found, expected = ours.read(box, size), theirs.read(box, size)
    assert int(np.abs(found.astype(int) - expected.astype(int)).max()) <= 2
    assert found.std() > 10


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5.5, 8, 16])
def test_any_scale__looks_like_an_average_over_areas(stained: Path, factor: float) -> None:
    box = Box(130, 70, 1760, 1408)
    size = Size(round(box.width / factor), round(box.height / factor))
    with open_slide(stained) as ours, open_slide(stained, reader="openslide") as theirs:
        found, expected = ours.read(box, size), theirs.read(box, size)
    assert mean_difference(found, expected) < 1.0
    # A shift by half a pixel of the result would show.
    shifted = cv2.warpAffine(expected, np.array([[1, 0, 0.5], [0, 1, 0]]), size, borderMode=cv2.BORDER_REPLICATE)
    assert mean_difference(found, expected) < 0.5 * mean_difference(shifted.astype(np.uint8), expected)


def test_sources__are_the_levels_and_what_a_decoder_makes_of_them_between_two(stained: Path) -> None:
    reader, _ = native_reader(OpenSlideReader(str(stained)))
    assert reader is not None
    assert [round(level.downsample) for level in reader.levels] == [1, 4, 16]
    assert [round(source.downsample) for source in reader.sources] == [1, 4, 16, 2, 8, 32, 64, 128]
    assert reader.sources[3].size_px == (1024, 768)


@pytest.mark.parametrize(
    ("downsample", "source"),
    [
        (1, 1),
        (1.9, 1),
        (2, 2),
        (2.01, 2),
        (2.5, 1),
        (3.9, 2),
        (4, 4),
        (6, 4),
        (7.7, 4),
        (8, 8),
        (30, 16),
        (31, 16),
        (32, 32),
    ],
)
def test_a_source__is_averaged_from_where_that_blurs_nothing(stained: Path, downsample: float, source: int) -> None:
    reader, _ = native_reader(OpenSlideReader(str(stained)))
    assert reader is not None
    assert round(reader.sources[choose_source(reader, downsample)].downsample) == source


def test_a_level_of_odd_size__is_reduced_to_its_last_pixel(write_slide: WriteSlide, picture: UInt8Array) -> None:
    smooth = cv2.GaussianBlur(picture[:419, :637], (0, 0), 2)
    path = write_slide(smooth, compression="jpeg", photometric="ycbcr", downsamples=(1,))
    with open_slide(path) as ours, open_slide(path, reader="openslide") as theirs:
        box, size = Box(0, 0, 637, 419), Size(159, 105)
        found, expected = ours.read(box, size), theirs.read(box, size)
    assert mean_difference(found, expected) < 1.5
    assert mean_difference(found[-2:, -2:], expected[-2:, -2:]) < 8  # what lies beyond the edge is black: 23


def test_other_compressions__are_left_to_openslide(write_slide: WriteSlide, picture: UInt8Array) -> None:
    with open_slide(write_slide(picture)) as slide:
        assert slide.reader == "openslide"
        assert "JPEG tiles" in slide.reader_reason


def test_some_levels__may_be_left_to_openslide(tmp_path: Path, picture: UInt8Array) -> None:
    path = tmp_path / "mixed.tif"
    half = cv2.resize(picture, (320, 210), interpolation=cv2.INTER_AREA)
    with tifffile.TiffWriter(path) as tiff:
        for pixels, compression, kind in ((picture, "jpeg", 0), (half, "zlib", 1)):
            layout = {"tile": (64, 64), "subfiletype": kind, "metadata": None}
            tiff.write(pixels, compression=compression, photometric="rgb", **layout)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.reader == "native"
        assert "1 of 2 levels through openslide" in slide.reader_reason
        found = slide.read(Box(0, 0, 640, 420), Size(320, 210))
    np.testing.assert_array_equal(found, half)


def test_a_file_whose_tiles_are_not_what_openslide_shows__is_left_to_it(
    write_slide: WriteSlide, picture: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_slide(picture, compression="jpeg", photometric="ycbcr")
    real = NativeLevel.decoded
    monkeypatch.setattr(NativeLevel, "decoded", lambda *args, **options: 255 - real(*args, **options))
    with open_slide(path) as slide:
        assert slide.reader == "openslide"


def test_a_missing_tile__is_left_to_openslide(write_slide: WriteSlide, picture: UInt8Array) -> None:
    path = write_slide(picture, compression="jpeg", photometric="ycbcr", downsamples=(1,))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        tiff.pages[0].tags["TileByteCounts"].overwrite([*counts[:5], 0, *counts[6:]])
    with open_slide(path) as slide:
        assert slide.reader == "openslide"


def test_damage_that_openslide_cannot_read_either__is_reported_in_one_line(
    write_slide: WriteSlide, picture: UInt8Array
) -> None:
    path = write_slide(picture, compression="jpeg", photometric="ycbcr", downsamples=(1,))
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[3], tiff.pages[0].databytecounts[3]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\x55" * count
    path.write_bytes(data)
    with open_slide(path) as slide:
        assert slide.reader == "native"
        with pytest.raises(SlideError, match="damaged"):
            slide.read(Box(192, 0, 64, 64), Size(64, 64))
        slide.read(Box(0, 0, 192, 64), Size(192, 64))  # what is whole can still be read


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted through /proc")
def test_a_closed_slide__leaves_no_file_open(stained: Path) -> None:
    # One descriptor for each level that was checked stayed open: a folder of slides ran out of them.
    def n_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with open_slide(stained) as slide:
        slide.read(Box(0, 0, 300, 200), Size(300, 200))
    before = n_open()
    for _ in range(3):
        with open_slide(stained) as slide:
            slide.read(Box(0, 0, 300, 200), Size(300, 200))
    assert n_open() == before


def test_a_plain_picture__has_no_native_reader(tmp_path: Path, picture: UInt8Array) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(picture).save(path)
    with pytest.raises(SlideError, match="no JPEG tiles"):
        open_slide(path, reader="native")


def test_tiles__are_decoded_once_though_regions_share_them(stained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    real = NativeLevel.decoded

    def counting(self: NativeLevel, data: bytes, index: int, *, reduction: int) -> UInt8Array:
        decoded.append(data)
        return real(self, data, index, reduction=reduction)

    monkeypatch.setattr(NativeLevel, "decoded", counting)
    with open_slide(stained) as slide, ThreadPoolExecutor(4) as pool:
        decoded.clear()
        boxes = [Box(x, y, 300, 300) for y in range(0, 1536, 300) for x in range(0, 2048, 300)]
        list(pool.map(lambda box: slide.read(box, Size(300, 300)), boxes))
    assert len(decoded) == 8 * 6


# The cache of tiles


def tile(value: int, side: int = 10) -> UInt8Array:
    return np.full((side, side, 3), value, np.uint8)


def test_cache__what_is_passing_never_takes_the_place_of_what_is_to_be_kept() -> None:
    cache: TileCache[str] = TileCache(kept_bytes=3 * 300, passing_bytes=2 * 300)
    made: list[str] = []

    def get(keys: str, *, keep: bool) -> str:
        made.clear()
        for key in keys:
            cache.get(key, lambda key=key: made.append(key) or tile(1), keep=keep)  # type: ignore[misc,func-returns-value]
        return "".join(made)

    assert get("abc", keep=True) == "abc"
    assert get("defgh", keep=False) == "defgh"
    assert get("abc", keep=True) == ""
    assert get("gh", keep=False) == ""
    assert get("f", keep=False) == "f"  # g goes
    assert get("h", keep=True) == ""  # is to be kept from now on, and a goes
    assert get("bch", keep=True) == ""
    assert get("g", keep=False) == "g"  # in the place that h has left
    assert get("f", keep=False) == ""
    assert get("a", keep=True) == "a"


def test_cache__a_failure_is_reported_to_all_and_not_remembered() -> None:
    cache: TileCache[int] = TileCache(kept_bytes=10_000, passing_bytes=10_000)

    def fail() -> UInt8Array:
        raise ValueError("no tile")

    with pytest.raises(ValueError, match="no tile"):
        cache.get(3, fail, keep=True)
    np.testing.assert_array_equal(cache.get(3, lambda: tile(9), keep=True), tile(9))


def test_cache__a_second_thread_waits_for_the_first() -> None:
    cache: TileCache[int] = TileCache(kept_bytes=10_000, passing_bytes=10_000)
    work_left, go_on = threading.Event(), threading.Event()

    def slow() -> UInt8Array:
        work_left.set()
        assert go_on.wait(10)
        return tile(4)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, 1, slow, keep=False)
        assert work_left.wait(10)
        second = pool.submit(cache.get, 1, lambda: tile(5), keep=False)
        go_on.set()
        assert first.result() is second.result()


# Real slides


@pytest.mark.realdata
def test_real_slides__have_the_pixels_of_openslide(real_data: Path) -> None:
    seen = set()
    for path in sorted((real_data / "wsi").glob("*")):
        if path.suffix not in (".svs", ".tiff", ".tif", ".ndpi"):
            continue
        with open_slide(path) as ours:
            seen.add(ours.reader)
            if ours.reader != "native":
                continue
            with open_slide(path, reader="openslide") as theirs:
                width, height = ours.size_px
                for factor, most in ((1, 0.5), (2, 0.5), (5, 2.0)):  # edges lie on multiples of every reduction
                    left, top = width // 3 // 8 * 8, height // 3 // 8 * 8
                    size = Size(*(max(8, side // 3 // factor // 8 * 8) for side in (width, height)))
                    box = Box(left, top, size.width * factor, size.height * factor)
                    assert mean_difference(ours.read(box, size), theirs.read(box, size)) < most, (path.name, factor)
    assert "native" in seen
