"""Folders of patch images with labels in their file names: BCSS-WSSS, LUAD-HistoSeg, WSSS4LUAD and similar data sets.

The labels are the text between the last `[` of the file name and the `]` after it: `...[1010].png`,
`...[1 0 1 0].png`, `...[1, 0, 1, 0].png`. Their format identifies the data set, and thus the order of the classes,
unless `classes` names them. Images without labels in their names (`val` and `test` of these data sets) need masks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from wsi_lpd.datasets import DATA_SETS, DataSet
from wsi_lpd.errors import LabelError
from wsi_lpd.images.files import IMAGE_SUFFIXES, common_side, image_size, read_index_mask
from wsi_lpd.labels.table import UNKNOWN, Int8Array, LabelTable, MaskSource, PatchSource, Problems
from wsi_lpd.types import Size

logger = logging.getLogger(__name__)

MASK_LABEL_FRACTION: Final = 0.05
"""For images without a label in the name: a class is present if it covers at least this share of the mask."""

SPLITS: Final = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
IMAGE_FOLDERS: Final = ("img", "image", "images")
MASK_FOLDERS: Final = ("mask", "masks")


_LABEL: Final = re.compile(r"[01]+|[01](?: [01])+|[01](?:, ?[01])+")
_TCGA_PATIENT: Final = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}")
_STATED_MPP: Final = re.compile(r"MPP-(\d+\.\d+)")


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of a split (`train`, `val` or `test`; see `SPLITS` for spellings) under a data set's root, or None."""
    return next((root / name for name in SPLITS[split] if (root / name).is_dir()), None)


def read_label_folder(path: Path, *, classes: Sequence[str] | None = None) -> LabelTable:
    """Reads a folder of patches, a folder with `img/` and `mask/`, or the training split of a data set's root.

    Args:
        path: The folder.
        classes: Class of each digit (and of each mask value), if the format of the names does not identify them.

    Raises:
        LabelError: All problems at once, each with its file.
    """
    images, mask_folder = _images(path)
    problems = Problems()
    texts = [label_text(image.name) for image in images]
    n_labelled = sum(text is not None for text in texts)
    if 0 < n_labelled < len(images):
        for image, text in zip(images, texts, strict=True):
            if text is None:
                problems.add(
                    str(image), "has no label in its name; expected one such as [1010], as in other images here"
                )
        problems.raise_any()
    if not n_labelled:
        return _from_masks(path, images, mask_folder, classes)
    entry, names = _classes(path, [text for text in texts if text is not None], classes)
    labels = _digits(images, [text or "" for text in texts], names, problems)
    sizes = _sizes(images, problems)
    problems.raise_any()
    mpp = stated_mpp(images) if stated_mpp(images) is not None or entry is None else entry.mpp
    return _table(images, names, labels, sizes, mpp, _masks(images, mask_folder, len(names)), name=str(path))


def label_text(name: str) -> str | None:
    """The text between the last `[` of a file name and the `]` after it, if it is a multi-hot label."""
    inside, bracket, _ = name.rpartition("[")[2].partition("]")
    return inside.strip() if bracket and "[" in name and _LABEL.fullmatch(inside.strip()) else None


def group_of(name: str) -> str:
    """The source of an image by its name: the patient, else the slide, else the region, else the image itself.

    `TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101]` gives the patient `TCGA-A1-A0SK`,
    `1031280-2300-27920-[1 0 0 1]` the patient `1031280` (patient, x, y).
    """
    stem = name.rpartition("[")[0] if label_text(name) is not None else Path(name).stem
    stem = stem.strip(" -_")
    if match := _TCGA_PATIENT.match(stem):
        return match.group()
    if match := re.fullmatch(r"(.+?)[-_]x?\d+[-_]y?\d+", stem):
        return match.group(1)
    if match := re.fullmatch(r"(.+)\+\d+", stem):
        return match.group(1)
    return stem


def _images(path: Path) -> tuple[list[Path], Path | None]:
    """The images of a folder, sorted by name, and the folder of their masks or None."""
    found = _image_files(path)
    if found:
        masks = next((path.parent / m for m in MASK_FOLDERS if (path.parent / m).is_dir()), None)
        return found, masks if path.name in IMAGE_FOLDERS else None
    for name in IMAGE_FOLDERS:
        if (path / name).is_dir() and (found := _image_files(path / name)):
            return found, next((path / m for m in MASK_FOLDERS if (path / m).is_dir()), None)
    training = split_folder(path, "train")
    if training is not None:
        return _images(training)
    raise LabelError(
        f"{path}: has no images ({', '.join(IMAGE_SUFFIXES)}); expected images, or a folder img/ or train/"
    )


def _image_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _classes(path: Path, texts: list[str], classes: Sequence[str] | None) -> tuple[DataSet | None, tuple[str, ...]]:
    if classes is not None:
        return None, tuple(classes)
    separator, n_digits = _form(texts[0])
    for data_set in DATA_SETS:
        if data_set.separator == separator and len(data_set.labels) == n_digits:
            logger.info("%s: labels read as %s (%s)", path, ", ".join(data_set.labels), data_set.name)
            return data_set, data_set.labels
    forms = "; ".join(f"{len(d.labels)} digits separated by {d.separator!r} ({d.name})" for d in DATA_SETS)
    raise LabelError(
        f"{path}: has labels such as [{texts[0]}]; expected those of a known data set ({forms}); otherwise name the "
        "class of each digit with --classes"
    )


def _form(text: str) -> tuple[str, int]:
    separator = ", " if "," in text else " " if " " in text else ""
    return separator, sum(character in "01" for character in text)


def _digits(images: list[Path], texts: list[str], names: tuple[str, ...], problems: Problems) -> Int8Array:
    labels = np.full((len(images), len(names)), UNKNOWN, np.int8)
    for i, (image, text) in enumerate(zip(images, texts, strict=True)):
        digits = [int(character) for character in text if character in "01"]
        if len(digits) == len(names):
            labels[i] = digits
        else:
            problems.add(
                str(image), f"label [{text}] has {len(digits)} digits; expected one each for {', '.join(names)}"
            )
    return labels


def _sizes(images: list[Path], problems: Problems) -> list[Size]:
    sizes = []
    for image in images:
        try:
            sizes.append(image_size(image))
        except LabelError as err:
            problems.add("image", str(err))
    return sizes


def _masks(images: list[Path], folder: Path | None, n_classes: int) -> list[MaskSource | None]:
    if folder is None:
        return [None] * len(images)
    by_stem = {mask.stem: mask for mask in _image_files(folder)}
    order = tuple(range(n_classes))
    return [MaskSource(by_stem[image.stem], order) if image.stem in by_stem else None for image in images]


def _from_masks(path: Path, images: list[Path], folder: Path | None, classes: Sequence[str] | None) -> LabelTable:
    """The table of images without labels in their names, labelled by the classes in their masks."""
    if folder is None:
        raise LabelError(
            f"{path}: {images[0].name} has no label in its name; expected one such as [1010], or a folder mask/ beside "
            "the images"
        )
    if classes is None:
        raise LabelError(
            f"{path}: the classes of its masks are unknown; name the class of each mask value with --classes"
        )
    masks = _masks(images, folder, len(classes))
    problems = Problems()
    labels = np.full((len(images), len(classes)), UNKNOWN, np.int8)
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if mask is None:
            problems.add(str(image), f"has no mask; expected one of the same name in {folder}")
            continue
        try:
            values = read_index_mask(mask.path)
        except LabelError as err:
            problems.add("mask", str(err))
            continue
        share = np.bincount(values.ravel(), minlength=256)[: len(classes)] / values.size
        labels[i] = share >= MASK_LABEL_FRACTION
    sizes = _sizes(images, problems)
    problems.raise_any()
    return _table(images, tuple(classes), labels, sizes, stated_mpp(images), masks, name=str(path))


def stated_mpp(images: list[Path]) -> float | None:
    """The mpp that all file names state (BCSS: `MPP-0.2500`), or None."""
    stated = {match.group(1) if (match := _STATED_MPP.search(image.name)) else None for image in images}
    text = stated.pop() if len(stated) == 1 else None
    return None if text is None else float(text)


def _table(
    images: list[Path],
    names: tuple[str, ...],
    labels: Int8Array,
    sizes: list[Size],
    mpp: float | None,
    masks: list[MaskSource | None],
    *,
    name: str,
) -> LabelTable:
    return LabelTable(
        names,
        labels,
        tuple(PatchSource(image) for image in images),
        tuple(group_of(image.name) for image in images),
        mpp,
        common_side(sizes, name),
        tuple(masks) if any(mask is not None for mask in masks) else None,
    )
