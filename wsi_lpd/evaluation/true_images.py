"""Images with true masks, laid out like the patch data sets: a folder with `img/` and `mask/`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from wsi_lpd.datasets import data_set
from wsi_lpd.errors import LabelError
from wsi_lpd.evaluation.groups import grouping
from wsi_lpd.evaluation.read import Coding, MapSource, canonical_names, coding_named, mask_files, read_source
from wsi_lpd.images.files import IMAGE_SUFFIXES
from wsi_lpd.labels.folders import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    MASK_LABEL_FRACTION,
    SPLITS,
    split_folder,
    stated_mpp,
)
from wsi_lpd.types import BACKGROUND, IGNORE, BoolArray, Int64Array, UInt8Array

_SAME_MPP: Final = 0.01
"""Relative difference below which two scales count as equal."""


@dataclass(frozen=True)
class TrueImage:
    """An image and its truth.

    Attributes:
        name: Of the image file.
        group: The slide or patient it was cut from.
        pixels: RGB (H, W, 3) at the model's mpp.
        truth: (H, W): 0 background, i + 1 the model's class i, 255 not judged.
    """

    name: str
    group: str
    pixels: UInt8Array
    truth: UInt8Array


class Pair(NamedTuple):
    """An image file and its mask."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class TrueFolder:
    """The images of a folder, read lazily, one at a time.

    Attributes:
        classes: The model's classes; truths use their order.
        image_mpp: Micrometres per pixel of the files; None = unknown, assumed to be the model's.
        model_mpp: The scale they are resampled to.
        pairs: The files.
        groups: The slide or patient each was cut from.
        coding: Meaning of the masks' values.
        names: Class of each mask value, in the data's order; None = the masks name them.
        warnings: What a reader of scores on these images should know.
    """

    classes: tuple[str, ...]
    image_mpp: float | None
    model_mpp: float
    pairs: tuple[Pair, ...]
    groups: tuple[str, ...]
    coding: Coding
    names: tuple[str, ...] | None
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.pairs)

    def __iter__(self) -> Iterator[TrueImage]:
        """Reads every image and its mask.

        Raises:
            LabelError: If a file cannot be read, or the size or the classes of a mask are not as expected.
        """
        for pair, group in zip(self.pairs, self.groups, strict=True):
            pixels, truth = _read_rgb(pair.image), self._read_truth(pair.mask)
            if pixels.shape[:2] != truth.shape:
                raise LabelError(
                    f"{pair.mask}: is {truth.shape[1]} x {truth.shape[0]} pixels, its image {pair.image} "
                    f"{pixels.shape[1]} x {pixels.shape[0]}"
                )
            yield TrueImage(pair.name, group, *self._at_model_mpp(pixels, truth))

    def _read_truth(self, path: Path) -> UInt8Array:
        """A mask in the model's values."""
        source = read_source(path, self.coding)
        names = self.names if self.names is not None else source.names
        if not isinstance(source, MapSource) or names is None:
            raise LabelError(f"{path}: found no class names; give --classes, or --coding for a data set")
        _same_classes(self.classes, names, str(path))
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[: len(names) + 1] = [BACKGROUND, *(self.classes.index(name) + 1 for name in names)]
        highest = int(source.label_map[source.label_map != IGNORE].max(initial=0))
        if highest > len(names):
            raise LabelError(
                f"{path}: found the value {highest}, expected 0 to {len(names)} or 255; check --classes and --coding"
            )
        truth: UInt8Array = table[source.label_map]
        return truth

    def _at_model_mpp(self, pixels: UInt8Array, truth: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
        scale = 1.0 if self.image_mpp is None else self.image_mpp / self.model_mpp
        if abs(scale - 1) < _SAME_MPP:
            return pixels, truth
        size = max(1, round(truth.shape[1] * scale)), max(1, round(truth.shape[0] * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(pixels, size, interpolation=way), dtype=np.uint8)
        return resized, np.asarray(cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def open_true_folder(
    folder: Path,
    *,
    classes: Sequence[str],
    model_mpp: float,
    images: Path | None = None,
    coding: str = "index",
    named: Sequence[str] | None = None,
    image_mpp: float | None = None,
    group_by: str = "source",
) -> TrueFolder:
    """Finds the images of a folder and their masks, paired by the stems of their names.

    Args:
        folder: Contains `img/` and `mask/`, or one split (`val`, `valid`, `test` ...) that does, or only masks.
        classes: The model's classes.
        model_mpp: The model's micrometres per pixel.
        images: The folder of the images, where they are not beside the masks.
        coding: What the values of the masks mean, a key of `read.CODINGS`.
        named: Classes of the values, where neither the coding nor the files name them.
        image_mpp: Micrometres per pixel of the images; None = as their names or the data set say.
        group_by: How images are grouped, see `groups.grouping`.

    Raises:
        LabelError: If there is no such folder, an image has no mask, or the classes are not the model's.
    """
    meaning, group = coding_named(coding), grouping(group_by)
    pairs = _pairs(folder, images)
    names = meaning.names if named is None else canonical_names(named)
    ours = canonical_names(classes)
    if names is not None:
        names = _spelt_like(ours, names)
        _same_classes(ours, names, str(folder))
    if image_mpp is None:
        entry = data_set(coding)
        stated = stated_mpp([pair.image for pair in pairs])
        image_mpp = entry.mpp if stated is None and entry is not None else stated
    groups = tuple(group(pair.image.name) for pair in pairs)
    warnings = (*_scale_warnings(folder, image_mpp, model_mpp), *_unused_warnings(pairs))
    return TrueFolder(ours, image_mpp, model_mpp, pairs, groups, meaning, names, warnings)


def held_classes(truth: UInt8Array, n_classes: int) -> BoolArray:
    """Whether each class has any pixel in the mask, (C,), as in the published oracle gate."""
    present: BoolArray = np.bincount(truth.reshape(-1), minlength=256)[1 : n_classes + 1] > 0
    return present


def label_of_mask(truth: UInt8Array, n_classes: int) -> Int64Array:
    """The image-level label (C,): 1 where a class covers enough of the judged pixels, as for training patches."""
    pixels = np.bincount(truth.reshape(-1), minlength=256)
    judged = max(1, int(pixels[:IGNORE].sum()))
    return (pixels[1 : n_classes + 1] >= MASK_LABEL_FRACTION * judged).astype(np.int64)


def _pairs(folder: Path, images: Path | None) -> tuple[Pair, ...]:
    home = _split(folder)
    masks = mask_files(next((home / name for name in MASK_FOLDERS if (home / name).is_dir()), home))
    inside = home if images is None else images
    pictures = next((inside / name for name in IMAGE_FOLDERS if (inside / name).is_dir()), inside)
    if not pictures.is_dir():
        raise LabelError(f"{pictures}: no such folder; name the folder of the images with --images")
    if images is None and pictures == home:
        raise LabelError(
            f"{home}: found no folder {' or '.join(IMAGE_FOLDERS)} beside the masks; name it with --images"
        )
    found = {path.stem: path for path in _image_files(pictures)}
    if missing := [stem for stem in masks if stem not in found]:
        raise LabelError(f"{pictures}: found no image for {len(missing)} of {len(masks)} masks, such as {missing[0]}")
    return tuple(Pair(stem, found[stem], mask) for stem, mask in masks.items())


def _scale_warnings(folder: Path, image_mpp: float | None, model_mpp: float) -> Iterator[str]:
    if image_mpp is None:
        yield f"{folder}: um per pixel unknown, assumed to be the model's {model_mpp:.4g}; give it with --slide-mpp"
    elif image_mpp > model_mpp * (1 + _SAME_MPP):
        yield (
            f"{folder}: has {image_mpp:.4g} um per pixel, the model expects {model_mpp:.4g}: images are enlarged, "
            "which adds no detail"
        )


def _unused_warnings(pairs: Sequence[Pair]) -> Iterator[str]:
    folder = pairs[0].image.parent
    if extra := sum(1 for _ in _image_files(folder)) - len(pairs):
        yield f"{folder}: {extra} image(s) have no mask and are not scored"


def _image_files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")


def _split(folder: Path) -> Path:
    """The folder itself, another spelling of it that exists, or the only split with masks that it contains."""
    if not folder.is_dir():
        split = next((split for split, spellings in SPLITS.items() if folder.name in spellings), None)
        other = None if split is None else split_folder(folder.parent, split)
        if other is None:
            raise LabelError(f"{folder}: no such folder")
        return other
    if any((folder / name).is_dir() for name in (*IMAGE_FOLDERS, *MASK_FOLDERS)):
        return folder
    inner = [split_folder(folder, split) for split in ("val", "test")]
    there = [path for path in inner if path is not None]
    if len(there) > 1:
        raise LabelError(f"{folder}: found {there[0].name} and {there[1].name}; name one of them")
    return there[0] if there else folder


def _spelt_like(ours: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """`names`, each as the model spells it: label folders of WSSS4LUAD give `normal`, its coding `Normal`."""
    spelling = {name.lower(): name for name in ours}
    return tuple(spelling.get(name.lower(), name) for name in names)


def _same_classes(ours: tuple[str, ...], names: tuple[str, ...], where: str) -> None:
    if set(ours) != set(names):
        raise LabelError(
            f"{where}: found the classes {', '.join(names)}, expected the model's in any order: {', '.join(ours)}; "
            "check --classes and --coding"
        )


def _read_rgb(path: Path) -> UInt8Array:
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as err:
        raise LabelError(f"{path}: cannot be read ({err})") from err
