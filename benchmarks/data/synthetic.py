"""The synthetic cohort: labelled patches of some generated slides, squares to score of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.data.cohorts import Cohort, is_ready, keep, mark_ready
from benchmarks.data.sizes import BenchSize
from benchmarks.data.text_vectors import write_stand_in
from wsi_lpd.config import load_config
from wsi_lpd.evaluation.true_images import TrueImage
from wsi_lpd.overlay.raster.mask import read_mask
from wsi_lpd.slide import open_slide
from wsi_lpd.synthetic import SYNTHETIC_CLASSES, SyntheticSlide, find_synthetic_slide, write_synthetic_slide
from wsi_lpd.tiling.job import TileJob
from wsi_lpd.tiling.slide_task import LabelSource, SlideTask
from wsi_lpd.types import Box, Size

SLIDE_MPP = 0.25
FIRST_SEED = 5000
"""Slides that neither the demo nor the tests use."""
HELD_OUT_SEED_STEP = 1000


def synthetic_cohort(folder: Path, size: BenchSize) -> Cohort:
    """Generates slides; cuts labelled patches from some, and squares to score from the others.

    Squares rather than whole slides: a slide holds every class, so the gate, which decides what classes an image holds,
    would have nothing to decide.

    Raises:
        ConfigError: If the folder holds a cohort of another size.
    """
    cohort = Cohort("synthetic", folder)
    made_from = {"size": size.cohort_key(), "first_seed": FIRST_SEED}
    if not is_ready(folder, made_from):
        _tile(
            folder,
            synthetic_settings(size),
            _slides(folder / "slides", size.n_slides, size.slide_px, FIRST_SEED),
        )
        first = FIRST_SEED + HELD_OUT_SEED_STEP
        # A truth pixel as large as a scored one: nothing is resampled.
        scale = round(size.mpp / SLIDE_MPP)
        for slide in _slides(folder / "others", size.n_held_out, size.held_out_px, first, truth_downsample=scale):
            for image in cut_up(_whole(slide), size.scored_px):
                keep(folder, image)
        mark_ready(folder, made_from)
    write_stand_in(cohort.vectors, SYNTHETIC_CLASSES)
    return cohort


def synthetic_settings(size: BenchSize) -> tuple[str, ...]:
    """`key=value` lines with the scale and the size of the patches."""
    return (f"tile.mpp={size.mpp}", f"tile.patch_px={size.patch_px}")


def cut_up(image: TrueImage, side_px: int) -> Iterator[TrueImage]:
    """Squares side by side, each named after its upper left corner and of the image's group.

    Raises:
        ValueError: If they do not fill the image.
    """
    height, width = image.truth.shape
    if height % side_px or width % side_px:
        raise ValueError(f"squares of {side_px} px do not fill an image of {width} x {height} px")
    for y in range(0, height, side_px):
        for x in range(0, width, side_px):
            part = (slice(y, y + side_px), slice(x, x + side_px))
            yield TrueImage(f"{image.name}-{x}-{y}", image.group, image.pixels[part], image.truth[part])


def _slides(
    folder: Path, count: int, side_px: int, first_seed: int, *, truth_downsample: int = 8
) -> list[SyntheticSlide]:
    size_px, made = Size(side_px, side_px), []
    for seed in range(first_seed + 1, first_seed + count + 1):
        path = folder / f"slide-{seed}.svs"
        found = find_synthetic_slide(path, size_px=size_px, seed=seed, truth_downsample=truth_downsample)
        made.append(
            write_synthetic_slide(path, size_px=size_px, seed=seed, truth_downsample=truth_downsample)
            if found is None
            else found
        )
    return made


def _tile(folder: Path, settings: Sequence[str], slides: Sequence[SyntheticSlide]) -> None:
    truth = LabelSource(SYNTHETIC_CLASSES, slides[0].path.parent / "*.truth.geojson", complete=True)
    job = TileJob(SlideTask(folder / "patches", load_config(None, settings).tile, n_slides=len(slides), labels=truth))
    for slide in slides:
        job.run(slide.path)
    job.finish()


def _whole(slide: SyntheticSlide) -> TrueImage:
    """The slide at the scale of its truth image."""
    truth = read_mask(slide.truth_image).label_map
    height, width = truth.shape
    side = slide.truth_downsample
    with open_slide(slide.path) as opened:
        pixels = opened.read(Box(0, 0, width * side, height * side), Size(width, height))
    return TrueImage(slide.path.stem, slide.path.stem, pixels, truth)
