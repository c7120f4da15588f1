"""Generates a synthetic slide and its ground truth from a seed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tifffile

from wsi_lpd.classes import qupath_classes
from wsi_lpd.errors import SlideError
from wsi_lpd.files import remove, replacing
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.types import AnyArray, Size

from .painter import BLOCK_PX, Painter
from .textures import SYNTHETIC_CLASSES
from .truth import write_truth_geojson
from .writer import EncodedBlock, SlideWriter, blocks_in_order, encode_block

GENERATOR_VERSION: Final = 2
"""Incremented whenever the same seed gives different pixels."""

TRUTH_DOWNSAMPLE: Final = 8
MIN_SIDE_PX: Final = 256
MIN_MPP: Final = 0.1
MAX_MPP: Final = 2.0


@dataclass(frozen=True)
class SyntheticSlide:
    """A synthetic slide and the files of its ground truth."""

    path: Path
    truth_image: Path
    """uint8 label image: 0 glass, class i of `SYNTHETIC_CLASSES` is i + 1."""
    truth_geojson: Path | None
    """The same as polygons for QuPath; None if not requested."""
    size_px: Size
    mpp: float
    seed: int
    truth_downsample: int
    """Level-0 pixels per pixel of the truth image, which has the class of the central pixel of each square."""


def write_synthetic_slide(
    path: Path,
    *,
    size_px: Size,
    seed: int,
    mpp: float = 0.25,
    pen_marks: bool = False,
    truth_downsample: int = TRUTH_DOWNSAMPLE,
    geojson: bool = True,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> SyntheticSlide:
    """Generates an H&E-like slide and writes `<stem>.svs`, `<stem>.truth.tif` and `<stem>.truth.geojson`.

    The pixels depend on `size_px`, `seed`, `mpp` and `pen_marks` only.

    Args:
        path: Path of the slide; the truth is written beside it.
        size_px: Size of level 0.
        seed: Seed of everything; another seed stands for another patient, stain and scan.
        mpp: Micrometres per pixel of level 0.
        pen_marks: Whether felt-pen marks are drawn over tissue and glass.
        truth_downsample: Level-0 pixels per truth pixel: 1, 2, 4 ... 64.
        geojson: Whether the truth is also written as polygons.
        threads: Number of worker threads; None = one per core.
        progress: Receives the number of blocks of 1024 x 1024 pixels.

    Raises:
        SlideError: If a parameter is out of range.
    """
    _check(path, size_px, seed, mpp, truth_downsample)
    n_threads = len(os.sched_getaffinity(0)) if threads is None else threads
    slide = _named(path, size_px, seed, mpp, truth_downsample, geojson)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(path)  # the slide is moved into place last: if it exists, its truth exists and belongs to it
    with replacing(path) as slide_tmp, replacing(slide.truth_image) as truth_tmp, ThreadPoolExecutor(n_threads) as pool:
        writer = SlideWriter(size_px, path.parent)
        painter = Painter(size_px, mpp=mpp, seed=seed, pen_marks=pen_marks, pool=pool)

        def make(column: int, row: int) -> EncodedBlock:
            return encode_block(painter.block(column, row), truth_downsample)

        n_blocks = -(-size_px.width // BLOCK_PX) * -(-size_px.height // BLOCK_PX)
        with progress.stage(path.name, n_blocks, "block") as advance:
            blocks = blocks_in_order(size_px, make, pool, 2 * n_threads + 2, advance)
            writer.write_slide(slide_tmp, blocks, describe(size_px, seed, mpp, pen_marks, truth_downsample), mpp)
        writer.write_truth(truth_tmp, mpp, truth_downsample, _palette(), _TRUTH_DESCRIPTION)
        _write_geojson(slide, truth_tmp)
    return slide


def find_synthetic_slide(
    path: Path,
    *,
    size_px: Size,
    seed: int,
    mpp: float = 0.25,
    pen_marks: bool = False,
    truth_downsample: int = TRUTH_DOWNSAMPLE,
    geojson: bool = True,
) -> SyntheticSlide | None:
    """The slide that `write_synthetic_slide` would write, if it already exists; None if there is no such file.

    If only the polygons are missing, they are written.

    Raises:
        SlideError: If `path` is another slide, or was generated with other parameters.
    """
    slide = _named(path, size_px, seed, mpp, truth_downsample, geojson)
    if not (path.exists() and slide.truth_image.exists()):
        return None
    wanted = describe(size_px, seed, mpp, pen_marks, truth_downsample)
    found = _description(path)
    if found != wanted:
        raise SlideError(
            f"{path}: exists and is another slide: found '{_parameters(found)}', expected '{_parameters(wanted)}'; "
            "choose another folder or pass --overwrite"
        )
    if slide.truth_geojson is not None and not slide.truth_geojson.exists():
        _write_geojson(slide, slide.truth_image)
    return slide


def _named(path: Path, size_px: Size, seed: int, mpp: float, truth_downsample: int, geojson: bool) -> SyntheticSlide:
    image, polygons = (path.with_name(f"{path.stem}.truth{suffix}") for suffix in (".tif", ".geojson"))
    return SyntheticSlide(path, image, polygons if geojson else None, size_px, mpp, seed, truth_downsample)


def _write_geojson(slide: SyntheticSlide, truth_image: Path) -> None:
    if slide.truth_geojson is not None:
        write_truth_geojson(
            slide.truth_geojson,
            truth_image,
            size_px=slide.size_px,
            downsample=slide.truth_downsample,
            slide=slide.path.stem,
        )


def _description(path: Path) -> str:
    try:
        with tifffile.TiffFile(path) as tiff:
            return str(tiff.pages.first.description)
    except (tifffile.TiffFileError, OSError, IndexError):
        return "not a TIFF file"


def _parameters(description: str) -> str:
    """The part of a description that states the parameters of a synthetic slide."""
    return " ".join(description.split("\r\n")[-1].split())[:200]


def describe(size_px: Size, seed: int, mpp: float, pen_marks: bool, truth_downsample: int) -> str:
    """The ImageDescription in Aperio's format, with all parameters of the slide."""
    return (
        f"Aperio Image Library v12.0.0 wsi-lpd synthetic slide\r\n{size_px.width}x{size_px.height} "
        f"(256x256) JPEG/RGB Q=80|AppMag = {round(10 / mpp)}|MPP = {mpp:g}|Synthetic seed = {seed}|"
        f"Synthetic version = {GENERATOR_VERSION}|Synthetic pen = {int(pen_marks)}|"
        f"Synthetic truth downsample = {truth_downsample}"
    )


_TRUTH_DESCRIPTION = "wsi-lpd truth: 0 glass, " + ", ".join(
    f"{i} {name}" for i, name in enumerate(SYNTHETIC_CLASSES, 1)
)


def _palette() -> AnyArray:
    """TIFF colour map (3, 256): white glass, QuPath's class colours."""
    colors = np.zeros((3, 256), np.uint16)
    colors[:, 0] = 65535
    for value, tissue_class in enumerate(qupath_classes(SYNTHETIC_CLASSES), start=1):
        colors[:, value] = np.array(tissue_class.color, np.uint16) * 257
    return colors


def _check(path: Path, size_px: Size, seed: int, mpp: float, truth_downsample: int) -> None:
    if min(size_px) < MIN_SIDE_PX:
        raise SlideError(
            f"{path.name}: size is {size_px.width} x {size_px.height} px; expected at least {MIN_SIDE_PX} px per side"
        )
    if seed < 0:
        raise SlideError(f"{path.name}: seed is {seed}; expected 0 or more")
    if not MIN_MPP <= mpp <= MAX_MPP:
        raise SlideError(f"{path.name}: mpp is {mpp:g}; expected {MIN_MPP:g} to {MAX_MPP:g} um/px (0.25 is a 40x scan)")
    if truth_downsample not in (1, 2, 4, 8, 16, 32, 64):
        raise SlideError(f"{path.name}: truth downsample is {truth_downsample}; expected 1, 2, 4, 8, 16, 32 or 64")
