"""Bringing a prediction and its truth to one list of classes and one pixel grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import shapely

from wsi_lpd.errors import LabelError
from wsi_lpd.evaluation.read import MapSource, OutlineSource, Source, canonical_names
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.rasterize import rasterize
from wsi_lpd.qupath.classes import kind_of
from wsi_lpd.types import BACKGROUND, IGNORE, Int64Array, UInt8Array

_LONGEST_SIDE_PX: Final = 8192
"""Of the grid on which two overlays are compared, at most."""

_SAME_SHAPE: Final = 0.02
"""Masks without a stated frame cover the same slide if their aspect ratios agree this well."""


@dataclass(frozen=True)
class ClassList:
    """The classes that are scored, and the names that each source gives its values or outlines."""

    classes: tuple[str, ...]
    prediction_names: tuple[str, ...]
    truth_names: tuple[str, ...]
    warnings: tuple[str, ...]


class Grid(NamedTuple):
    """A pixel grid: shape (height, width), and its frame where known."""

    shape: tuple[int, int]
    frame: GridFrame | None


def align_classes(prediction: Source, truth: Source, given: Sequence[str] | None) -> ClassList:
    """Finds the classes by name; a mask that has only numbers takes `given`, else the other side's names, in order.

    Raises:
        LabelError: If the two have no class in common, or the truth has none.
    """
    wanted = None if given is None else canonical_names(given)
    p_names, t_names = _names(prediction, truth, wanted), _names(truth, prediction, wanted)
    for source, names in ((prediction, p_names), (truth, t_names)):
        if _highest(source) > len(names):
            raise LabelError(
                f"{source.path}: found the value {_highest(source)}, but there are only {len(names)} classes "
                f"({', '.join(names)}); check --classes and --coding"
            )
    p_seen, t_seen = (tuple(n for n in names if kind_of(n) == "class") for names in (p_names, t_names))
    if not t_seen:
        raise LabelError(f"{truth.path}: found no classes, expected the areas or values of at least one class")
    if p_seen and not set(p_seen) & set(t_seen):
        raise LabelError(
            f"{prediction.path} has the classes {', '.join(p_seen)}, {truth.path} has {', '.join(t_seen)}: "
            "none in common; rename the classes in one of them"
        )
    classes = wanted if wanted is not None else tuple(dict.fromkeys(p_seen + t_seen))
    warnings = [w for source in (prediction, truth) if isinstance(source, OutlineSource) for w in source.warnings]
    for here, there, source, other in ((p_seen, t_seen, prediction, truth), (t_seen, p_seen, truth, prediction)):
        if only := [name for name in here if name not in there and name in classes]:
            warnings.append(f"{', '.join(only)}: in {source.path.name} but not in {other.path.name}")
    if left_out := [name for name in dict.fromkeys(t_seen + p_seen) if name not in classes]:
        warnings.append(f"{', '.join(left_out)}: not asked for; true pixels are ignored, predicted ones are background")
    return ClassList(classes, p_names, t_names, tuple(warnings))


def _names(source: Source, other: Source, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    if source.names is not None:
        return source.names
    if wanted is not None:
        return wanted
    if isinstance(other, OutlineSource) and not other.in_value_order:
        raise LabelError(
            f"{source.path}: is a mask of numbers, and {other.path} does not say which class has which; "
            "pass --classes with the names in the order of the values, or --coding for a data set"
        )
    if other.names is not None:
        return other.names
    highest = max(_highest(source), _highest(other))
    return tuple(f"Class {value}" for value in range(1, highest + 1))


def _highest(source: Source) -> int:
    if isinstance(source, OutlineSource):
        return 0
    return int(source.label_map[source.label_map != IGNORE].max(initial=0))


def on_one_grid(
    prediction: Source, truth: Source, names: ClassList, truth_downsample: float | None
) -> tuple[UInt8Array, UInt8Array, Grid]:
    """Label maps of prediction and truth, values 0 to C and 255, on the truth's grid where it has one."""
    grid = _grid(prediction, truth, truth_downsample)
    return (
        _drawn(prediction, names.prediction_names, names.classes, grid, other=BACKGROUND, ignore=BACKGROUND),
        _drawn(truth, names.truth_names, names.classes, grid, other=IGNORE, ignore=IGNORE),
        grid,
    )


def _grid(prediction: Source, truth: Source, truth_downsample: float | None) -> Grid:
    if isinstance(truth, MapSource):
        shape = (truth.label_map.shape[0], truth.label_map.shape[1])
        if truth.frame is not None:
            return Grid(shape, truth.frame)
        return Grid(shape, _frame_of_plain_truth(prediction, shape, truth_downsample))
    if isinstance(prediction, MapSource):
        if prediction.frame is None:
            raise LabelError(
                f"{prediction.path}: does not state where it lies on the slide, so it cannot be compared with the "
                "outlines of the truth; use a mask written by wsi-lpd segment --mask, or the overlay"
            )
        return Grid((prediction.label_map.shape[0], prediction.label_map.shape[1]), prediction.frame)
    return _grid_of_outlines(prediction, truth)


def _frame_of_plain_truth(
    prediction: Source, shape: tuple[int, int], truth_downsample: float | None
) -> GridFrame | None:
    """A plain mask covers the slide from its corner; the prediction knows the slide's size and the bounds."""
    offset = _offset(prediction)
    if truth_downsample is not None:
        return _placed(truth_downsample, truth_downsample, offset)
    if isinstance(prediction, OutlineSource):
        if prediction.slide_px is None:
            raise LabelError(
                f"{prediction.path}: does not state the size of the slide, so the truth mask cannot be placed; "
                "pass --truth-downsample, the level-0 pixels per pixel of the truth"
            )
        width, height = prediction.slide_px
        return _placed(width / shape[1], height / shape[0], offset)
    if prediction.frame is None:
        return None
    rows, columns = prediction.label_map.shape
    frame = prediction.frame
    return _placed(frame.downsample_x * columns / shape[1], frame.downsample_y * rows / shape[0], offset)


def _placed(downsample_x: float, downsample_y: float, offset: tuple[int, int]) -> GridFrame:
    if min(downsample_x, downsample_y) < 1:
        raise LabelError(
            f"the truth would have {downsample_x:.4g} x {downsample_y:.4g} level-0 pixels per pixel, expected at "
            "least 1: it is not a mask of this slide, or was enlarged; reduce it to the slide's size"
        )
    return GridFrame(downsample_x, downsample_y, *offset)


def _offset(source: Source) -> tuple[int, int]:
    if isinstance(source, OutlineSource):
        return (0, 0) if source.offset_px is None else source.offset_px
    return (0, 0) if source.frame is None else (source.frame.offset_x, source.frame.offset_y)


def _grid_of_outlines(prediction: OutlineSource, truth: OutlineSource) -> Grid:
    slide_px = prediction.slide_px if prediction.slide_px is not None else truth.slide_px
    if slide_px is None:
        shapes = [a.geometry for a in (*prediction.annotations, *truth.annotations)]
        left, top, right, bottom = (round(float(v)) for v in shapely.total_bounds(shapes))
        offset = (-left, -top)
        width, height = right - left, bottom - top
    else:
        offset = _offset(prediction if prediction.slide_px is not None else truth)
        width, height = slide_px
    least = max(1.0, max(width, height) / _LONGEST_SIDE_PX)
    stated = [s.downsample for s in (truth, prediction) if s.downsample is not None and min(s.downsample) >= least]
    step_x, step_y = stated[0] if stated else (least, least)
    # A map that is as wide as the slide may come out a hair wider by its stated downsample.
    shape = (max(1, math.ceil(height / step_y - 1e-6)), max(1, math.ceil(width / step_x - 1e-6)))
    return Grid(shape, GridFrame(step_x, step_y, *offset))


def _drawn(
    source: Source, names: Sequence[str], classes: Sequence[str], grid: Grid, *, other: int, ignore: int
) -> UInt8Array:
    """The source on the grid; `other` is the value of classes that are not scored."""
    value = {name: i + 1 for i, name in enumerate(classes)}
    value |= {name: ignore for name in names if kind_of(name) == "ignored"}
    if isinstance(source, MapSource):
        table = np.full(256, other, dtype=np.uint8)
        table[: len(names) + 1] = [BACKGROUND, *(value.get(name, other) for name in names)]
        table[IGNORE] = IGNORE
        return table[_resampled(source, grid)]
    drawn = [a for a in source.annotations if kind_of(a.class_name) != "outline"]
    # Large areas first: one that was drawn inside another must not vanish below it.
    drawn.sort(key=lambda annotation: -annotation.geometry.area)
    labels = [value.get(str(a.class_name), other) for a in drawn]
    polygons = np.array([a.geometry for a in drawn], dtype=object)
    return rasterize(polygons, labels, grid.shape, frame=_own_frame(source, grid))


def _own_frame(source: OutlineSource, grid: Grid) -> GridFrame | None:
    """The grid's frame, with the offset of the source's own coordinates where it states one."""
    if source.offset_px is None or grid.frame is None:
        return grid.frame
    return replace(grid.frame, offset_x=source.offset_px[0], offset_y=source.offset_px[1])


def _resampled(source: MapSource, grid: Grid) -> UInt8Array:
    """The source's pixels nearest to the grid's pixel centres; both maps begin at the slide's corner."""
    height, width = source.label_map.shape
    if source.frame is None or grid.frame is None:
        stretch = (grid.shape[1] / grid.shape[0]) / (width / height)
        if abs(stretch - 1) > _SAME_SHAPE:
            raise LabelError(
                f"{source.path}: is {width} x {height}, the truth {grid.shape[1]} x {grid.shape[0]} pixels: "
                "not the same part of a slide, and neither file states where it lies"
            )
        step_y, step_x = height / grid.shape[0], width / grid.shape[1]
    else:
        step_y = grid.frame.downsample_y / source.frame.downsample_y
        step_x = grid.frame.downsample_x / source.frame.downsample_x
    if (height, width) == grid.shape and step_x == step_y == 1:
        return source.label_map
    rows, columns = ((np.arange(n) + 0.5) * step for n, step in zip(grid.shape, (step_y, step_x), strict=True))
    return _taken(source.label_map, rows.astype(np.int64), columns.astype(np.int64))


def _taken(label_map: UInt8Array, rows: Int64Array, columns: Int64Array) -> UInt8Array:
    """Pixels at `rows` x `columns`; background past the end."""
    inside = (rows < label_map.shape[0])[:, None] & (columns < label_map.shape[1])
    taken = label_map[np.minimum(rows, label_map.shape[0] - 1)][:, np.minimum(columns, label_map.shape[1] - 1)]
    result: UInt8Array = np.where(inside, taken, np.uint8(BACKGROUND))
    return result
