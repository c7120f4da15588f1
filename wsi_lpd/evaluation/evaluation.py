"""Scores a prediction against its truth: label maps, files, folders of masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from wsi_lpd.errors import LabelError
from wsi_lpd.evaluation.align import Grid, align_classes, on_one_grid
from wsi_lpd.evaluation.groups import grouping
from wsi_lpd.evaluation.protocols import ProtocolName, Scores
from wsi_lpd.evaluation.read import Coding, MapSource, Source, coding_named, mask_files, read_source
from wsi_lpd.evaluation.report import ImageCounts, Report, Tally, tally
from wsi_lpd.types import UInt8Array

logger = logging.getLogger(__name__)


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
    image = ImageCounts("", "", tally(truth, prediction, len(classes)))
    return Report(tuple(classes), (image,), "", ()).scores(protocol)


def evaluate_files(
    prediction: Path,
    truth: Path,
    *,
    classes: Sequence[str] | None = None,
    coding: str = "index",
    prediction_coding: str | None = None,
    truth_downsample: float | None = None,
    group_by: str = "source",
    boundary_px: int | None = None,
) -> Report:
    """Compares an overlay or mask with a true overlay or mask, or a folder of masks with a folder of masks.

    Args:
        prediction: GeoJSON, OME-TIFF, TIFF, PNG, or a folder of masks.
        truth: The same kinds; a folder if the prediction is one, with masks of the same names.
        classes: Names of the classes to score; None = those named in the files.
        coding: What the values of plain masks mean, a key of `CODINGS`.
        prediction_coding: The same for the prediction's masks, where they differ.
        truth_downsample: Level-0 pixels per pixel of a plain truth mask, where no file says so.
        group_by: How masks of a folder are grouped, see `groups.grouping`.
        boundary_px: Depth of the boundary band in pixels of the grid; None = two per cent of the diagonal.

    Raises:
        LabelError: If the two cannot be compared; the message says why.
        OverlayError: If an overlay or mask cannot be read.
    """
    truth_coding = coding_named(coding)
    other_coding = truth_coding if prediction_coding is None else coding_named(prediction_coding)
    for path in (prediction, truth):
        if not path.exists():
            raise LabelError(f"{path}: no such file or folder")
    if prediction.is_dir() != truth.is_dir():
        folder, file = (prediction, truth) if prediction.is_dir() else (truth, prediction)
        raise LabelError(f"{folder} is a folder and {file} a file; give two files, or two folders of masks")
    if truth.is_dir():
        report = _evaluate_folders(prediction, truth, classes, other_coding, truth_coding, group_by, boundary_px)
    else:
        predicted, true = read_source(prediction, other_coding), read_source(truth, truth_coding)
        report = _evaluate_pair(predicted, true, classes, truth_downsample, boundary_px)
    for warning in report.warnings:
        logger.warning("%s", warning)
    return report


def _evaluate_pair(
    predicted: Source, true: Source, classes: Sequence[str] | None, truth_downsample: float | None, width: int | None
) -> Report:
    names = align_classes(predicted, true, classes)
    prediction_map, truth_map, grid = on_one_grid(predicted, true, names, truth_downsample)
    counted = _counted(truth_map, prediction_map, names.classes, true.path, width)
    image = ImageCounts(true.path.name, true.path.name, counted)
    return Report(names.classes, (image,), _in_words(grid), names.warnings)


def _evaluate_folders(
    prediction: Path,
    truth: Path,
    classes: Sequence[str] | None,
    prediction_coding: Coding,
    truth_coding: Coding,
    group_by: str,
    boundary_px: int | None,
) -> Report:
    predicted_files, true_files = mask_files(prediction), mask_files(truth)
    if missing := [name for name in true_files if name not in predicted_files]:
        raise LabelError(
            f"{prediction}: found no mask for {len(missing)} of the {len(true_files)} images of {truth}, "
            f"such as {missing[0]}; predict every image"
        )
    names = tuple(classes) if classes is not None else truth_coding.names
    if names is None:
        raise LabelError(f"{truth}: masks of numbers have no class names; pass --classes, or --coding for a data set")
    group = grouping(group_by)
    images: list[ImageCounts] = []
    warnings: dict[str, None] = {}
    for name, true_file in true_files.items():
        true, predicted = read_source(true_file, truth_coding), read_source(predicted_files[name], prediction_coding)
        _same_shape(predicted, true)
        pair = _evaluate_pair(predicted, true, names, None, boundary_px)
        images.append(ImageCounts(name, group(true_file.name), pair.images[0].tally))
        warnings |= dict.fromkeys(pair.warnings)
    if extra := len(set(predicted_files) - set(true_files)):
        warnings[f"{extra} mask(s) of {prediction} have no truth and are left out"] = None
    return Report(pair.classes, tuple(images), "the pixels of each mask", tuple(warnings))


def _same_shape(predicted: Source, true: Source) -> None:
    if not isinstance(predicted, MapSource) or not isinstance(true, MapSource):
        return
    if predicted.label_map.shape != true.label_map.shape:
        raise LabelError(
            f"{predicted.path}: is {predicted.label_map.shape[1]} x {predicted.label_map.shape[0]} pixels, "
            f"its truth {true.path} {true.label_map.shape[1]} x {true.label_map.shape[0]}"
        )


def _counted(truth: UInt8Array, prediction: UInt8Array, classes: Sequence[str], path: Path, width: int | None) -> Tally:
    try:
        return tally(truth, prediction, len(classes), boundary_px=width)
    except ValueError as err:
        raise LabelError(f"{path}: {err}; check --classes and --coding") from err


def _in_words(grid: Grid) -> str:
    size = f"{grid.shape[1]} x {grid.shape[0]} px"
    if grid.frame is None:
        return size
    return f"{size}, {grid.frame.downsample_x:.6g} x {grid.frame.downsample_y:.6g} level-0 px each"
