"""Scoring a prediction against its truth: label maps, files, folders of masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsi_lpd.errors import LabelError
from wsi_lpd.evaluate.align import Grid, align_classes, on_one_grid
from wsi_lpd.evaluate.metrics import confusion
from wsi_lpd.evaluate.protocols import ProtocolName, Scores, score
from wsi_lpd.evaluate.read import CODINGS, Coding, MapSource, mask_files, read_source
from wsi_lpd.types import Int64Array, UInt8Array

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """Pixel counts of a comparison, from which each protocol makes its scores.

    Attributes:
        classes: The scored classes.
        counts: (C + 1, C + 1), rows truth, columns prediction, background first.
        n_images: Pairs of images that were counted together.
        grid: On which grid pixels were compared, in words.
        warnings: What a reader of the scores should know.
    """

    classes: tuple[str, ...]
    counts: Int64Array
    n_images: int
    grid: str
    warnings: tuple[str, ...]

    def scores(self, protocol: ProtocolName) -> Scores:
        """The scores under one protocol."""
        return score(self.counts, self.classes, protocol)

    def to_json(self, protocols: Sequence[ProtocolName] = ("A", "B")) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "classes": list(self.classes),
            "n_images": self.n_images,
            "grid": self.grid,
            "protocols": {name: self.scores(name).to_json() for name in protocols},
            "warnings": list(self.warnings),
        }


def evaluate_maps(
    prediction: UInt8Array, truth: UInt8Array, classes: Sequence[str], *, protocol: ProtocolName = "A"
) -> Scores:
    """Scores a label map against the true one of the same shape.

    Args:
        prediction: 0 background, class i is i + 1.
        truth: The same; 255 = not judged.
        classes: Names of the classes, C of them.
        protocol: A key of `PROTOCOLS`.
    """
    return score(confusion(truth, prediction, len(classes)), classes, protocol)


def evaluate_files(
    prediction: Path,
    truth: Path,
    *,
    classes: Sequence[str] | None = None,
    coding: str = "index",
    prediction_coding: str | None = None,
    truth_downsample: float | None = None,
) -> Report:
    """Compares an overlay or mask with a true overlay or mask, or a folder of masks with a folder of masks.

    Args:
        prediction: GeoJSON, OME-TIFF, TIFF, PNG, or a folder of masks.
        truth: The same kinds; a folder if the prediction is one, with masks of the same names.
        classes: Names of the classes to score; None = those the files name.
        coding: What the values of plain masks mean, a key of `CODINGS`.
        prediction_coding: The same for the prediction's masks, where they differ.
        truth_downsample: Level-0 pixels per pixel of a plain truth mask, where no file tells.

    Raises:
        LabelError: If the two cannot be compared; the message says why.
        OverlayError: If an overlay or mask cannot be read.
    """
    truth_coding = _coding(coding)
    other_coding = truth_coding if prediction_coding is None else _coding(prediction_coding)
    for path in (prediction, truth):
        if not path.exists():
            raise LabelError(f"{path}: no such file or folder")
    if prediction.is_dir() != truth.is_dir():
        folder, file = (prediction, truth) if prediction.is_dir() else (truth, prediction)
        raise LabelError(f"{folder} is a folder and {file} a file; give two files, or two folders of masks")
    if truth.is_dir():
        report = _evaluate_folders(prediction, truth, classes, other_coding, truth_coding)
    else:
        report = _evaluate_pair(prediction, truth, classes, other_coding, truth_coding, truth_downsample)
    for warning in report.warnings:
        logger.warning("%s", warning)
    return report


def _coding(name: str) -> Coding:
    if name not in CODINGS:
        raise LabelError(f"coding {name!r}: expected one of {', '.join(CODINGS)}")
    return CODINGS[name]


def _evaluate_pair(
    prediction: Path,
    truth: Path,
    classes: Sequence[str] | None,
    prediction_coding: Coding,
    truth_coding: Coding,
    truth_downsample: float | None,
) -> Report:
    predicted, true = read_source(prediction, prediction_coding), read_source(truth, truth_coding)
    names = align_classes(predicted, true, classes)
    prediction_map, truth_map, grid = on_one_grid(predicted, true, names, truth_downsample)
    counts = _counted(truth_map, prediction_map, names.classes, truth)
    return Report(names.classes, counts, 1, _in_words(grid), names.warnings)


def _evaluate_folders(
    prediction: Path,
    truth: Path,
    classes: Sequence[str] | None,
    prediction_coding: Coding,
    truth_coding: Coding,
) -> Report:
    predicted_files, true_files = mask_files(prediction), mask_files(truth)
    if missing := [name for name in true_files if name not in predicted_files]:
        raise LabelError(
            f"{prediction}: has no mask for {len(missing)} of the {len(true_files)} images of {truth}, "
            f"such as {missing[0]}; every image must be predicted"
        )
    names = tuple(classes) if classes is not None else truth_coding.names
    if names is None:
        raise LabelError(f"{truth}: masks of numbers have no class names; pass --classes, or --coding for a data set")
    counts = np.zeros((len(names) + 1, len(names) + 1), dtype=np.int64)
    warnings: dict[str, None] = {}
    for name, true_file in true_files.items():
        true, predicted = read_source(true_file, truth_coding), read_source(predicted_files[name], prediction_coding)
        _same_shape(predicted, true)
        aligned = align_classes(predicted, true, names)
        prediction_map, truth_map, _ = on_one_grid(predicted, true, aligned, None)
        counts += _counted(truth_map, prediction_map, aligned.classes, true_file)
        warnings |= dict.fromkeys(aligned.warnings)
    if extra := len(set(predicted_files) - set(true_files)):
        warnings[f"{extra} mask(s) of {prediction} have no truth and are not counted"] = None
    return Report(aligned.classes, counts, len(true_files), "the pixels of each mask", tuple(warnings))


def _same_shape(predicted: Any, true: Any) -> None:
    if isinstance(predicted, MapSource) and predicted.label_map.shape != true.label_map.shape:
        raise LabelError(
            f"{predicted.path}: is {predicted.label_map.shape[1]} x {predicted.label_map.shape[0]} pixels, "
            f"its truth {true.path} {true.label_map.shape[1]} x {true.label_map.shape[0]}"
        )


def _counted(truth: UInt8Array, prediction: UInt8Array, classes: Sequence[str], path: Path) -> Int64Array:
    try:
        return confusion(truth, prediction, len(classes))
    except ValueError as err:
        raise LabelError(f"{path}: {err}; check --classes and --coding") from err


def _in_words(grid: Grid) -> str:
    size = f"{grid.shape[1]} x {grid.shape[0]} px"
    if grid.frame is None:
        return size
    return f"{size}, {grid.frame.downsample_x:.6g} x {grid.frame.downsample_y:.6g} level-0 px each"
