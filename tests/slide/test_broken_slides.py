"""Damaged, missing and strange files: one clear error that names the file, never anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsi_lpd.config import TissueConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.slide import find_tissue, open_slide
from wsi_lpd.types import Box, Size, UInt8Array

WriteSlide = Callable[..., Path]


def read_everything(path: Path, reader: str = "auto") -> None:
    with open_slide(path, reader=reader) as slide:
        find_tissue(slide, TissueConfig())
        slide.read(Box(0, 0, *slide.size_px), slide.size_px)


def test_open__a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"gone\.svs: no such file"):
        open_slide(tmp_path / "gone.svs")


def test_open__a_folder(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="is a folder"):
        open_slide(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"just text", "does not support its format"), (b"II*\0" + b"\7" * 99, "")],
)
def test_open__no_slide_at_all(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.svs").write_bytes(content)
    with pytest.raises(SlideError, match=rf"x\.svs: .*{message}"):
        open_slide(tmp_path / "x.svs")


def test_open__an_unknown_reader(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="expected one of auto, native, openslide"):
        open_slide(tmp_path / "x.svs", reader="bioformats")


def test_open__a_mirax_slide_without_its_folder_is_no_jpeg(tmp_path: Path, picture: UInt8Array) -> None:
    """The .mrxs itself is a JPEG thumbnail: an image reader would take it for the slide."""
    from PIL import Image

    Image.fromarray(picture).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.mrxs")
    with pytest.raises(SlideError, match=r"a\.mrxs"):
        open_slide(tmp_path / "a.mrxs")


def damage_tile(path: Path, index: int) -> None:
    """Overwrites one compressed tile of level 0."""
    with tifffile.TiffFile(path) as tif:
        offset, n_bytes = tif.pages[0].dataoffsets[index], tif.pages[0].databytecounts[index]
    data = bytearray(path.read_bytes())
    data[offset : offset + n_bytes] = b"\xa5" * n_bytes
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
def test_read__damage_is_reported_and_the_rest_stays_readable(
    write_slide: WriteSlide, picture: UInt8Array, reader: str
) -> None:
    """OpenSlide answers every call after an error with that error; the slide opens a new handle."""
    path = write_slide(picture)
    damage_tile(path, index=23)  # ten tiles a row: x 192, y 128
    with open_slide(path, reader=reader) as slide:
        for _ in range(2):
            with pytest.raises(SlideError, match=r"slide one\.svs: its pixels cannot be read at x 19\d, y 1\d\d"):
                slide.read(Box(192, 128, 64, 64), Size(64, 64))
            assert np.array_equal(slide.read(Box(0, 0, 150, 110), Size(150, 110)), picture[:110, :150])


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def flip_near_the_start(data: bytes, rng: np.random.Generator) -> bytes:
    return _flip(data, 0, 1500, rng)


def flip_near_the_end(data: bytes, rng: np.random.Generator) -> bytes:
    return _flip(data, len(data) - 1500, len(data), rng)


def _flip(data: bytes, start: int, stop: int, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 12))):
        changed[int(rng.integers(start, stop))] = int(rng.integers(256))
    return bytes(changed)


@pytest.mark.parametrize("damage", [cut, flip_near_the_start, flip_near_the_end])
@pytest.mark.parametrize("reader", ["auto", "tiffslide"])
def test_damage__ends_in_one_line_or_in_pixels(
    write_slide: WriteSlide,
    picture: UInt8Array,
    damage: Callable[[bytes, np.random.Generator], bytes],
    reader: str,
) -> None:
    path = write_slide(picture[:130, :200])
    data = path.read_bytes()
    rng = np.random.default_rng(17)
    messages = []
    for _ in range(25):
        path.write_bytes(damage(data, rng))
        try:
            read_everything(path, reader)
        except SlideError as err:
            messages.append(str(err))
    assert messages or damage is not cut
    assert all(str(path) in message and "\n" not in message for message in messages)


@pytest.mark.realdata
def test_real_broken_slides__end_in_one_line(real_data: Path) -> None:
    broken = [
        "histolab_broken.svs",
        "openslide-python_unreadable.svs",
        "openslide-python_unopenable.tiff",
        "panimg_complex_tiff/Mirax2-Fluorescence-1.mrxs",
        "panimg_complex_tiff/Hamamatsu-VMS/CMU-1-40x - 2010-01-12 13.24.05.vms",
        "panimg_tiff/no_image",
    ]
    for name in broken:
        with pytest.raises(SlideError) as caught:
            read_everything(real_data / "broken" / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
