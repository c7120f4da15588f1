"""The cohort of WSSS4LUAD: patches of one half of its images, the other half to score."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.data.cohorts import Cohort, is_ready, keep, mark_ready
from benchmarks.data.text_vectors import write_stand_in
from wsi_lpd.datasets import DATA_SETS
from wsi_lpd.errors import ConfigError
from wsi_lpd.evaluation.true_images import open_true_folder
from wsi_lpd.files import replacing
from wsi_lpd.types import UInt8Array

(WSSS4LUAD,) = (entry for entry in DATA_SETS if entry.name == "WSSS4LUAD")
PATCH_PX = 112
STRIDE_PX = 56
SPLIT_SEED = 0
LEAST_SHARE = 0.05
"""A class that covers at least this share of a patch is in its label."""
WSSS4LUAD_SETTINGS = (f"tile.mpp={WSSS4LUAD.mpp}", f"tile.patch_px={PATCH_PX}")
"""`key=value` lines with the scale and the size of the patches."""


def wsss4luad_cohort(folder: Path, data: Path) -> Cohort:
    """Cuts labelled patches from one half of the images of WSSS4LUAD; the other half is scored whole.

    The halves are the same for every method and seed. The images' names do not give their slides, so each image is a
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
    made_from = {"images": [path.name for path in images], "split_seed": SPLIT_SEED}
    if not is_ready(folder, made_from):
        training, scored = split_in_halves(images, SPLIT_SEED)
        cut_patches(training, folder / "patches")
        names = {path.stem for path in scored}
        whole = open_true_folder(data, classes=WSSS4LUAD.names, model_mpp=WSSS4LUAD.mpp, coding=WSSS4LUAD.key)
        chosen = [i for i, pair in enumerate(whole.pairs) if pair.name in names]
        pairs, groups = tuple(whole.pairs[i] for i in chosen), tuple(whole.groups[i] for i in chosen)
        for image in replace(whole, pairs=pairs, groups=groups):
            keep(folder, image)
        mark_ready(folder, made_from)
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
    side = PATCH_PX
    for path in images:
        with Image.open(path) as opened:
            pixels, mask = _at_least_a_patch(np.asarray(opened.convert("RGB")), _mask_of(path))
        for y in range(0, mask.shape[0] - side + 1, STRIDE_PX):
            for x in range(0, mask.shape[1] - side + 1, STRIDE_PX):
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


def _mask_of(path: Path) -> UInt8Array:
    with Image.open(path.parent.parent / "mask" / path.name) as opened:
        return np.asarray(opened)


def _at_least_a_patch(pixels: UInt8Array, mask: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
    bottom, right = (max(0, PATCH_PX - side) for side in mask.shape)
    rows_and_columns = ((0, bottom), (0, right))
    return np.pad(pixels, (*rows_and_columns, (0, 0)), mode="symmetric"), np.pad(
        mask, rows_and_columns, mode="symmetric"
    )
