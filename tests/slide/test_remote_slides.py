"""Slides at URLs: the pixels of the local file, by few and small requests, and one clear line when something fails."""

from __future__ import annotations

import multiprocessing
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from far_files import FarFile, in_memory, on_a_web_server
from fsspec.registry import known_implementations
from tiny_slides import tissue_pixels

from wsi_lpd.config import TileConfig, TissueConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.slide import Slide, open_slide
from wsi_lpd.slide.readers import remote_file
from wsi_lpd.slide.readers.native_level import NativeLevel
from wsi_lpd.slide.readers.native_tiles import NativeTiles
from wsi_lpd.slide.readers.remote_file import BLOCK_BYTES, RemoteError, RemoteFile, merged
from wsi_lpd.slide.readers.tile_cache import TileCache
from wsi_lpd.stores.patches import PatchStore
from wsi_lpd.tiling.plan import open_to_tile, plan_tiling
from wsi_lpd.tiling.tiler import tile_slide
from wsi_lpd.types import Box, Size, UInt8Array

WriteSlide = Callable[..., Path]
SIZE = Size(2000, 1500)
PADDING_BYTES = 24 * 2**20
BOXES = [
    (Box(700, 300, 400, 300), Size(400, 300)),
    (Box(-30, -20, 700, 500), Size(350, 250)),
    (Box(0, 0, 2000, 1500), Size(500, 375)),
    (Box(1500, 1200, 600, 400), Size(123, 77)),
]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SVS of 256-px JPEG tiles, levels 1 and 4 and a thumbnail, with 24 MiB behind that nobody needs."""
    path = tmp_path_factory.mktemp("remote") / "far away.svs"
    pixels = tissue_pixels(*SIZE)
    description = "Aperio Image Library v11\n2000x1500 (256x256)|AppMag = 20|MPP = 0.499"
    layout = {"photometric": "rgb", "compression": "jpeg", "description": description, "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, tile=(256, 256), **layout)
        tiff.write(pixels[::8, ::8], **layout)
        tiff.write(cv2.resize(pixels, (500, 375), interpolation=cv2.INTER_AREA), tile=(256, 256), **layout)
    with path.open("ab") as stream:
        stream.write(bytes(PADDING_BYTES))
    return path


@pytest.fixture(params=["memory", "http"])
def far(request: pytest.FixtureRequest, local: Path) -> Iterator[FarFile]:
    """The same file at a URL."""
    if request.param == "http":
        pytest.importorskip("aiohttp")
    with (in_memory if request.param == "memory" else on_a_web_server)(local.read_bytes(), "far.svs") as file:
        yield file


@pytest.fixture
def web(local: Path) -> Iterator[FarFile]:
    pytest.importorskip("aiohttp")
    with on_a_web_server(local.read_bytes(), "far.svs") as file:
        yield file


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "PAUSES_S", (0.0, 0.0, 0.0))


def failure(location: str | Path, *, reader: str = "auto") -> str:
    """The one line that opening it ends in."""
    with pytest.raises(SlideError) as caught:
        open_slide(location, reader=reader)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Pixels, and what they cost


def test_pixels__are_those_of_the_local_file(local: Path, far: FarFile) -> None:
    with open_slide(local) as near, open_slide(far.url) as slide:
        assert (slide.reader, near.reader) == ("native", "native")
        assert slide.reader_reason == "the slide is remote; JPEG tiles are read by byte ranges and decoded directly"
        assert (slide.levels, slide.vendor, slide.mpp) == (near.levels, near.vendor, near.mpp)
        assert slide.fingerprint == near.fingerprint
        for box, size in BOXES:
            found = slide.read(box, size)
            np.testing.assert_array_equal(found, near.read(box, size))
            assert found.std() > 10


def test_opening__asks_for_a_small_part_of_the_file(local: Path, far: FarFile) -> None:
    with open_slide(far.url) as slide:
        assert slide.reader == "native"
    assert 0 < far.n_asked < 8 * BLOCK_BYTES < local.stat().st_size / 6
    assert max(end - start for start, end in far.asked) <= 4 * BLOCK_BYTES
    assert far.n_sent < 8 * BLOCK_BYTES


def test_a_patch__costs_one_request_per_row_of_its_tiles_and_is_not_asked_for_twice(local: Path, far: FarFile) -> None:
    with tifffile.TiffFile(local) as tiff:
        page = tiff.pages[0]
        rows = [[row * 8 + column for column in (2, 3, 4)] for row in (1, 2)]
        wanted = [(page.dataoffsets[row[0]], page.dataoffsets[row[-1]] + page.databytecounts[row[-1]]) for row in rows]
    with open_slide(far.url) as slide:
        far.asked.clear()
        first = slide.read(Box(700, 300, 400, 300), Size(400, 300))
        assert sorted(far.asked) == wanted
        again = slide.read(Box(700, 300, 400, 300), Size(400, 300))
        assert len(far.asked) == 2
    np.testing.assert_array_equal(first, again)


def test_threads__get_the_right_pixels_and_decode_each_tile_once(
    local: Path, far: FarFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    real = NativeLevel.decoded

    def counting(self: NativeLevel, data: bytes, index: int, *, reduction: int) -> UInt8Array:
        decoded.append(index)
        return real(self, data, index, reduction=reduction)

    boxes = [Box(x, y, 330, 290) for y in range(0, 1500, 250) for x in range(0, 2000, 310)]
    with open_slide(local) as near:
        expected = [near.read(box, Size(330, 290)) for box in boxes]
    monkeypatch.setattr(NativeLevel, "decoded", counting)
    with open_slide(far.url) as slide, ThreadPoolExecutor(8) as pool:
        decoded.clear()
        for found, wanted in zip(pool.map(lambda box: slide.read(box, Size(330, 290)), boxes), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert sorted(decoded) == list(range(8 * 6))


@pytest.mark.parametrize("where", ["file", "http"])
def test_another_process__opens_it_for_itself(request: pytest.FixtureRequest, local: Path, where: str) -> None:
    url = f"file://{local}" if where == "file" else request.getfixturevalue("web").url
    box = Box(1000, 700, 70, 50)
    slide = open_slide(url)
    assert slide.reader == "native"
    expected = slide.read(box, Size(70, 50))
    copy: Slide = pickle.loads(pickle.dumps(slide))
    np.testing.assert_array_equal(copy.read(box, Size(70, 50)), expected)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(_read, (slide, box)), expected)


def _read(slide: Slide, box: Box) -> UInt8Array:
    return slide.read(box, Size(box.width, box.height))


def test_close__a_later_read_asks_again(far: FarFile) -> None:
    slide = open_slide(far.url)
    first = slide.read(*BOXES[0])
    slide.close()
    slide.close()
    far.asked.clear()
    np.testing.assert_array_equal(slide.read(*BOXES[0]), first)
    assert far.asked


def test_tile__makes_the_patches_of_the_local_file(tmp_path: Path, local: Path, far: FarFile) -> None:
    config = TileConfig(mpp=0.998, patch_px=120, stride_px=100, tissue=TissueConfig(preset="everything"))
    stores = []
    for location, out in ((local, "near.zarr"), (far.url, "far.zarr")):
        with open_to_tile(location) as slide:
            stores.append(PatchStore.open(tile_slide(slide, tmp_path / out, plan_tiling(slide, config)).path))
    near, away = stores
    assert len(near) == len(away) > 50
    np.testing.assert_array_equal(away.coords, near.coords)
    np.testing.assert_array_equal(away.read(range(len(away))), near.read(range(len(near))))


# Which reader


def test_reader__may_be_asked_for(far: FarFile) -> None:
    with open_slide(far.url, reader="tiffslide") as slide, open_slide(far.url, reader="native") as native:
        assert (slide.reader, slide.reader_reason) == ("tiffslide", "requested")
        assert (native.reader, native.reader_reason) == ("native", "requested")
        found, expected = (s.read(*BOXES[0]).astype(int) for s in (native, slide))
        assert np.abs(found - expected).max() <= 2
    assert "opens local files only" in failure(far.url, reader="openslide")


def test_philips__is_decoded_directly_whoever_made_the_scanner(tmp_path: Path) -> None:
    spacing = '<Attribute Name="DICOM_PIXEL_SPACING">"0.0005" "0.0005"</Attribute>'
    level = f'<DataObject ObjectType="PixelDataRepresentation">{spacing}</DataObject>'
    description = (
        '<DataObject ObjectType="DPUfsImport"><Attribute Name="DICOM_MANUFACTURER">3D Histech</Attribute>'
        f"<Attribute><Array>{level}{level.replace('0.0005', '0.001')}</Array></Attribute></DataObject>"
    )
    pixels = tissue_pixels(768, 512)
    with tifffile.TiffWriter(tmp_path / "p.tiff") as tiff:
        for image in (pixels, cv2.resize(pixels, (384, 256), interpolation=cv2.INTER_AREA)):
            layout = {"tile": (128, 128), "photometric": "rgb", "compression": "jpeg", "metadata": None}
            tiff.write(image, description=description, software="Philips DP v1.0", **layout)
    with in_memory((tmp_path / "p.tiff").read_bytes(), "p.tiff") as file, open_slide(file.url) as slide:
        assert (slide.vendor, slide.reader, len(slide.levels)) == ("philips", "native", 2)
        assert np.abs(slide.read(Box(90, 60, 300, 200), Size(300, 200)).astype(int) - pixels[60:260, 90:390]).mean() < 6


# Failures


def test_a_request_that_fails_for_a_moment__is_made_again(local: Path, far: FarFile) -> None:
    with open_slide(local) as near, open_slide(far.url) as slide:
        far.asked.clear()
        far.failing = 3
        np.testing.assert_array_equal(slide.read(*BOXES[0]), near.read(*BOXES[0]))
        assert len(far.asked) == 2 + 2 + 1  # what has come is not asked for again


def test_a_server_that_fails_for_good__is_reported_and_nothing_wrong_is_remembered(local: Path, far: FarFile) -> None:
    with open_slide(local) as near, open_slide(far.url) as slide:
        far.failing = 10**6
        with pytest.raises(
            SlideError, match=r"cannot be read any further \(.* bytes from byte .* on, 4 attempts\); check the network"
        ) as caught:
            slide.read(*BOXES[0])
        assert "\n" not in str(caught.value)
        far.failing = 0
        np.testing.assert_array_equal(slide.read(*BOXES[0]), near.read(*BOXES[0]))


def test_a_server_that_fails_from_the_start__is_reported(far: FarFile) -> None:
    far.failing = 10**6
    message = failure(far.url)
    assert message.startswith(far.url)
    assert "check" in message


def test_a_server_that_fails_at_the_first_tile__does_not_make_the_slide_a_slow_one(
    far: FarFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*args: object) -> UInt8Array:
        raise RemoteError("stopped coming")

    monkeypatch.setattr(NativeTiles, "region", dead)
    assert failure(far.url) == "stopped coming"


def test_answers_that_are_too_short__are_no_pixels(far: FarFile) -> None:
    with open_slide(far.url) as slide:
        far.cut = 7
        with pytest.raises(SlideError, match="cannot be read any further"):
            slide.read(*BOXES[0])


def test_a_file_that_is_cut_short__is_reported(write_slide: WriteSlide, picture: UInt8Array) -> None:
    path = write_slide(picture, downsamples=(1,), description=None, compression="jpeg", photometric="ycbcr")
    with in_memory(path.read_bytes()[:-300], "cut.tif") as file, open_slide(file.url) as slide:
        assert slide.reader == "native"
        slide.read(Box(0, 0, 600, 300), Size(600, 300))
        with pytest.raises(SlideError, match=r"is truncated: has .* bytes, expected .*; upload it again"):
            slide.read(Box(560, 360, 80, 60), Size(80, 60))


def test_a_damaged_tile__is_reported_and_the_others_can_be_read(write_slide: WriteSlide, picture: UInt8Array) -> None:
    path = write_slide(picture, compression="jpeg", photometric="ycbcr", downsamples=(1,))
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[3], tiff.pages[0].databytecounts[3]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\x55" * count
    with in_memory(bytes(data), "x.svs") as file, open_slide(file.url) as slide:
        assert slide.reader == "native"
        with pytest.raises(SlideError, match="damaged"):
            slide.read(Box(192, 0, 64, 64), Size(64, 64))
        slide.read(Box(0, 0, 192, 64), Size(192, 64))


def test_a_server_without_ranges__is_reported_before_the_file_has_come(web: FarFile) -> None:
    web.takes_ranges = False
    assert "its server sends whole files only; expected support of range requests; download" in failure(web.url)
    assert web.n_sent < len(web.data) / 2


@pytest.mark.parametrize("reader", ["auto", "tiffslide"])
def test_a_missing_file__is_reported(web: FarFile, reader: str) -> None:
    assert failure(f"{web.url}.gone", reader=reader).endswith("gone: no such file; check the address")
    assert failure("memory://gone.svs", reader=reader) == "memory://gone.svs: no such file; check the address"


def test_no_network__is_reported() -> None:
    pytest.importorskip("aiohttp")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    message = failure(f"http://127.0.0.1:{port}/x.svs")
    assert "cannot be opened (" in message
    assert "check the address, the network and your permission to read it" in message


def test_a_protocol_without_its_package__is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"class": "no_such_package.FileSystem", "err": "Install no_such_package"}
    monkeypatch.setitem(known_implementations, "nowhere", absent)
    message = failure("nowhere://bucket/x.svs")
    assert "the package for this protocol is not installed (Install no_such_package); pip install" in message


def test_what_is_no_slide__is_reported() -> None:
    assert "expected https://, s3:// or another protocol" in failure("carrier-pigeon://loft/x.svs")
    for data, message in (
        (b"", "is empty"),
        (b"II", "is not a TIFF"),
        (b"<html>sign in</html>", "is not a TIFF; expected SVS"),
    ):
        with in_memory(data, "x.svs") as file:
            assert message in failure(file.url)


# Parts


def test_merged__spans_near_each_other_are_one_request() -> None:
    far_off = 10 * 2**20
    assert merged([(500, 20), (far_off, 5), (0, 100), (100, 50), (510, 3)]) == [(0, 520), (far_off, 5)]
    assert merged([(0, far_off), (far_off, 7)]) == [(0, far_off), (far_off, 7)]
    assert merged([]) == []


def test_read_all__gives_every_part_in_the_order_that_was_asked_for() -> None:
    data = np.random.default_rng(3).bytes(3 * 2**20 + 17)
    spans = [(2_000_000, 40), (5, 12), (2_000_010, 700_000), (3 * 2**20, 17), (0, 0), (5, 3)]
    with in_memory(data, "bytes") as file:
        parts = RemoteFile(file.url).read_all(spans)
    assert parts == [data[offset : offset + count] for offset, count in spans]


def test_streams__read_like_a_file() -> None:
    data = np.random.default_rng(4).bytes(40 * BLOCK_BYTES + 123)
    with in_memory(data, "bytes") as file:
        source = RemoteFile(file.url)
        one, other = source.for_tifffile(), source.for_tifffile()
        for offset, count in (
            (0, 10),
            (BLOCK_BYTES - 5, 10),
            (len(data) - 9, 50),
            (len(data), 5),
            (7, 3 * BLOCK_BYTES),
        ):
            one.seek(offset)
            assert one.read(count) == data[offset : offset + count]
            assert one.tell() == min(offset + count, len(data))
        assert one.seek(-4, 2) == len(data) - 4
        assert one.seek(-4, 1) == len(data) - 8
        assert other.tell() == 0
        file.asked.clear()
        assert other.read(BLOCK_BYTES) == data[:BLOCK_BYTES]
        assert file.asked == []
        other.seek(0)
        assert other.read(len(data)) == data
        with pytest.raises(ValueError, match="before the start"):
            one.seek(-1)


def test_cache__what_another_thread_has_in_hand_is_waited_for_and_not_fetched_again() -> None:
    cache: TileCache[int] = TileCache(kept_bytes=10**6, passing_bytes=10**6)
    work_left, go_on = threading.Event(), threading.Event()
    fetched: list[list[int]] = []

    def fetch(keys: list[int]) -> list[Callable[[], UInt8Array]]:
        fetched.append(keys)
        work_left.set()
        assert 4 in keys or go_on.wait(20)
        return [lambda key=key: np.full((4, 6, 3), key, np.uint8) for key in keys]  # type: ignore[misc]

    def get(keys: list[int]) -> list[int]:
        return [int(tile[0, 0, 0]) for tile in cache.get_together([(key, False) for key in keys], fetch)]

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(get, [1, 2, 3])
        assert work_left.wait(20)
        second = pool.submit(get, [4, 2, 1])
        go_on.set()
        assert (first.result(20), second.result(20)) == ([1, 2, 3], [4, 2, 1])
    assert fetched == [[1, 2, 3], [4]]
