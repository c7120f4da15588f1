"""What the methods are compared on: patches with image-level labels, and whole images to be scored on.

A cohort is prepared once and is then a folder: `patches/patches.csv` to learn from, `held-out/*.npz` with pixels, true
map and group of every image that no training sees.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ablation_rows import VECTORS_FILE
from PIL import Image
from sizes import BenchSize
from text_vectors import write_stand_in

from wsi_lpd.config import load_config
from wsi_lpd.datasets import DATA_SETS
from wsi_lpd.errors import ConfigError
from wsi_lpd.evaluation.true_images import TrueImage, open_true_folder
from wsi_lpd.files import replacing, write_text
from wsi_lpd.overlay.raster.mask import read_mask
from wsi_lpd.slide import open_slide
from wsi_lpd.synthetic import SYNTHETIC_CLASSES, SyntheticSlide, find_synthetic_slide, write_synthetic_slide
from wsi_lpd.tiling.job import TileJob
from wsi_lpd.tiling.slide_task import LabelSource, SlideTask
from wsi_lpd.types import Box, Size, UInt8Array

SLIDE_MPP = 0.25
FIRST_SEED = 5000
"""Slides that neither the demo nor the tests use."""
HELD_OUT_SEED_STEP = 1000

(WSSS4LUAD,) = (entry for entry in DATA_SETS if entry.name == "WSSS4LUAD")
WSSS4LUAD_PATCH_PX = 112
WSSS4LUAD_STRIDE_PX = 56
WSSS4LUAD_SPLIT_SEED = 0
LEAST_SHARE = 0.05
"""A class that covers at least this share of a patch is in its label."""


@dataclass(frozen=True)
class Cohort:
    """A prepared cohort.

    Attributes:
        name: `synthetic` or `wsss4luad`.
        folder: Where it lies.
    """

    name: str
    folder: Path

    @property
    def labels(self) -> Path:
        """The label table of the training patches."""
        return self.folder / "patches" / "patches.csv"

    @property
    def held_out(self) -> HeldOut:
        """The images to be scored on."""
        return HeldOut(self.folder / "held-out")

    def describe(self) -> str:
        """Its size in words."""
        groups = {image.group for image in self.held_out}
        n_px = sum(image.truth.size for image in self.held_out)
        return (
            f"{self.name}: {self.n_patches():,} patches to learn from (some of them held out for calibration), "
            f"{len(self.held_out)} images of {len(groups)} sources to be scored on ({n_px / 1e6:.1f} M pixels)"
        )

    @property
    def vectors(self) -> Path:
        """Text vectors of its classes for method tpro: a stand-in."""
        return self.folder / VECTORS_FILE

    def n_patches(self) -> int:
        """Patches of the label table."""
        with self.labels.open(encoding="utf-8", newline="") as stream:
            return sum(1 for _ in csv.DictReader(stream))


@dataclass(frozen=True)
class HeldOut:
    """The held-out images of a folder, read one at a time."""

    folder: Path

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.npz") if not path.name.startswith("."))

    def __len__(self) -> int:
        return len(self._files())

    def __iter__(self) -> Iterator[TrueImage]:
        for path in self._files():
            with np.load(path, allow_pickle=False) as arrays:
                yield TrueImage(path.stem, str(arrays["group"]), arrays["pixels"], arrays["truth"])


def patch_settings(cohort: str, size: BenchSize) -> tuple[str, ...]:
    """What training needs to know of a cohort's patches."""
    if cohort == "synthetic":
        return (f"tile.mpp={size.mpp}", f"tile.patch_px={size.patch_px}")
    return (f"tile.mpp={WSSS4LUAD.mpp}", f"tile.patch_px={WSSS4LUAD_PATCH_PX}")


def write_share(labels: Path, to: Path, share: float) -> None:
    """Writes a label table that keeps `share` of the patches of a table, always the same ones."""
    with labels.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    kept = np.sort(np.random.default_rng(0).permutation(len(rows))[: round(share * len(rows))])
    store = header.index("store")
    for row in rows:
        row[store] = str((labels.parent / row[store]).resolve())
    with replacing(to) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *(rows[i] for i in kept)])


def synthetic_cohort(folder: Path, size: BenchSize) -> Cohort:
    """Generates slides, cuts labelled patches from some, and squares to be scored from the others.

    Squares, as data sets of patches are scored: a slide holds every class, and what tells which classes an image holds
    (the gate) would have nothing to tell.

    Raises:
        ConfigError: If the folder holds a cohort of another size.
    """
    cohort = Cohort("synthetic", folder)
    made_from = {"size": size.cohort_key(), "first_seed": FIRST_SEED}
    if not _is_ready(folder, made_from):
        _tile(
            folder,
            patch_settings("synthetic", size),
            _slides(folder / "slides", size.n_slides, size.slide_px, FIRST_SEED),
        )
        first = FIRST_SEED + HELD_OUT_SEED_STEP
        # A truth pixel as large as a scored one: nothing is resampled.
        scale = round(size.mpp / SLIDE_MPP)
        for slide in _slides(folder / "others", size.n_held_out, size.held_out_px, first, truth_downsample=scale):
            for image in cut_up(_whole(slide), size.scored_px):
                keep(folder, image)
        _mark_ready(folder, made_from)
    write_stand_in(cohort.vectors, SYNTHETIC_CLASSES)
    return cohort


def wsss4luad_cohort(folder: Path, data: Path) -> Cohort:
    """Cuts labelled patches from one half of the images of WSSS4LUAD; the other half is scored whole.

    The halves are the same for every method and seed. Names of the images tell no source slide, so each image is a
    group of its own.

    Args:
        folder: Where the cohort goes.
        data: Folder with `img/` and `mask/`.

    Raises:
        ConfigError: If there are no such images, or the folder holds a cohort of other images.
    """
    images = sorted((data / "img").glob("*.png"))
    if len(images) < 2:
        raise ConfigError(f"{data}: found {len(images)} images in img/, expected the test set of WSSS4LUAD (3.testing)")
    cohort = Cohort("wsss4luad", folder)
    made_from = {"images": [path.name for path in images], "split_seed": WSSS4LUAD_SPLIT_SEED}
    if not _is_ready(folder, made_from):
        learning, scored = split_in_halves(images, WSSS4LUAD_SPLIT_SEED)
        cut_patches(learning, folder / "patches")
        names = {path.stem for path in scored}
        whole = open_true_folder(data, classes=WSSS4LUAD.names, model_mpp=WSSS4LUAD.mpp, coding=WSSS4LUAD.key)
        chosen = [i for i, pair in enumerate(whole.pairs) if pair.name in names]
        pairs, groups = tuple(whole.pairs[i] for i in chosen), tuple(whole.groups[i] for i in chosen)
        for image in replace(whole, pairs=pairs, groups=groups):
            keep(folder, image)
        _mark_ready(folder, made_from)
    write_stand_in(cohort.vectors, WSSS4LUAD.names)
    return cohort


def split_in_halves(images: Sequence[Path], seed: int) -> tuple[list[Path], list[Path]]:
    """Splits at random, and evenly among images that hold the same classes: normal tissue is in few of them."""
    shuffled = [images[i] for i in np.random.default_rng(seed).permutation(len(images))]
    masks = {path: _mask_of(path) for path in images}
    ordered = sorted(shuffled, key=lambda path: [int((masks[path] == c).any()) for c in range(len(WSSS4LUAD.names))])
    return ordered[::2], ordered[1::2]


def cut_patches(images: Sequence[Path], out: Path) -> Path:
    """Writes the patches of `images` and their image-level labels; small images are mirrored to one patch."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[list[str | int]] = []
    side = WSSS4LUAD_PATCH_PX
    for path in images:
        with Image.open(path) as opened:
            pixels, mask = _at_least_a_patch(np.asarray(opened.convert("RGB")), _mask_of(path))
        for y in range(0, mask.shape[0] - side + 1, WSSS4LUAD_STRIDE_PX):
            for x in range(0, mask.shape[1] - side + 1, WSSS4LUAD_STRIDE_PX):
                part = mask[y : y + side, x : x + side]
                present = [int((part == c).mean() >= LEAST_SHARE) for c in range(len(WSSS4LUAD.names))]
                if not any(present):
                    continue
                name = f"{path.stem}-{x}-{y}.png"
                Image.fromarray(pixels[y : y + side, x : x + side]).save(out / name)
                rows.append([name, path.stem, *present])
    table = out / "patches.csv"
    with replacing(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["image", "slide", *WSSS4LUAD.names], *rows])
    return table


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


def keep(folder: Path, image: TrueImage) -> None:
    path = folder / "held-out" / f"{image.name}.npz"
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, pixels=image.pixels, truth=image.truth, group=np.array(image.group))


def _is_ready(folder: Path, made_from: dict[str, object]) -> bool:
    path = folder / "cohort.json"
    if not path.is_file():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != made_from:
        raise ConfigError(f"{folder}: holds a cohort of other slides or images; choose another --out, or remove it")
    return True


def _mark_ready(folder: Path, made_from: dict[str, object]) -> None:
    write_text(folder / "cohort.json", json.dumps(made_from, indent=1))


def _mask_of(path: Path) -> UInt8Array:
    with Image.open(path.parent.parent / "mask" / path.name) as opened:
        return np.asarray(opened)


def _at_least_a_patch(pixels: UInt8Array, mask: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
    bottom, right = (max(0, WSSS4LUAD_PATCH_PX - side) for side in mask.shape)
    rows_and_columns = ((0, bottom), (0, right))
    return np.pad(pixels, (*rows_and_columns, (0, 0)), mode="symmetric"), np.pad(
        mask, rows_and_columns, mode="symmetric"
    )
