"""What is decided before the network looks at a slide: where windows lie and how the map is cut into strips."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsi_lpd.classes import TissueClass
from wsi_lpd.config import SegmentConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.overlay.frame import n_cells
from wsi_lpd.prediction.passes import windows_per_pass
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.prediction.windows import Place, WindowGrid, stride_for
from wsi_lpd.segmentation.strips import StripGrid
from wsi_lpd.slide import Slide, TissueMask
from wsi_lpd.slide.resolution import is_too_coarse


@dataclass(frozen=True)
class MapPlan:
    """The windows of a slide and the map they make.

    Frame: map pixel (row i, column j) covers level-0 x from j * downsample to (j + 1) * downsample, y likewise with i.

    Attributes:
        grid: Where windows could lie, in model pixels.
        places: Windows with tissue, row by row from top to bottom, in model pixels.
        stride: Model pixels per map pixel.
        mpp: Micrometres per map pixel.
        classes: Name and colour; `classes[i]` has the label-map value i + 1.
        strips: How the map is cut.
        batch_size: Windows per forward pass.
    """

    grid: WindowGrid
    places: Sequence[Place]
    stride: int
    mpp: float
    classes: tuple[TissueClass, ...]
    strips: StripGrid
    batch_size: int

    @property
    def downsample(self) -> float:
        """Level-0 pixels per map pixel."""
        return self.stride * self.grid.scale

    @property
    def side(self) -> int:
        """Side of a window in map pixels."""
        return self.grid.window_px // self.stride

    @property
    def columns_of_rows(self) -> Mapping[int, Sequence[int]]:
        """Left edges of the windows of each row that has any, by its top."""
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for place in self.places:
            rows[place.top].append(place.left)
        return rows

    def first_batch(self, row: int) -> int:
        """Index of the first window of the batch that holds the first to reach map row `row`.

        Batches are counted from the top of the slide, whatever row is begun with: how windows are put together may
        change the last bits of what a network says of each.
        """
        first = bisect_right(self.places, row - self.side, key=lambda place: place.top // self.stride)
        return first // self.batch_size * self.batch_size

    def end_of_batches(self, row: int) -> int:
        """Index after the last window of the batch that holds the last window to begin above map row `row`."""
        end = bisect_left(self.places, row, key=lambda place: place.top // self.stride)
        return min(-(-end // self.batch_size) * self.batch_size, len(self.places))

    def windows_of_strips(self) -> list[int]:
        """How many windows begin in each strip."""
        rows = np.array([place.top // self.stride for place in self.places], np.int64)
        counts = np.bincount(np.maximum(rows, 0) // self.strips.strip_rows, minlength=len(self.strips))
        return [int(count) for count in counts]


def plan_map(slide: Slide, tissue: TissueMask, predictor: Predictor, config: SegmentConfig) -> MapPlan:
    """Decides where a model looks at a slide.

    Args:
        slide: An open slide with a known mpp.
        tissue: Where to look.
        predictor: The model.
        config: Overlap, window, windows per forward pass, stride of the map, least tissue.

    Raises:
        SlideError: If the slide has no mpp, or is coarser than the model's mpp and `allow_upsampling` is off.
    """
    stride = map_stride(slide, predictor, config)
    grid = window_grid(slide, predictor, config, stride)
    classes = tuple(TissueClass(c.name, c.color) for c in predictor.card.classes)
    width, height = (n_cells(side, stride * grid.scale) for side in slide.size_px)
    return MapPlan(
        grid=grid,
        places=_with_tissue(grid, tissue, config.min_tissue),
        stride=stride,
        mpp=stride * predictor.card.mpp,
        classes=classes,
        strips=StripGrid(height, width, len(classes)),
        batch_size=windows_per_pass(config.batch_size, predictor.device, window_px=grid.window_px),
    )


def map_stride(slide: Slide, predictor: Predictor, config: SegmentConfig) -> int:
    """Model pixels per map pixel: as configured, doubled until a map pixel is at least one slide pixel wide."""
    stride = config.output_stride
    while stride * predictor.card.mpp < slide.mpp:
        stride *= 2
    return stride


def window_grid(slide: Slide, predictor: Predictor, config: SegmentConfig, stride: int) -> WindowGrid:
    """The grid of windows over a slide at the model's mpp."""
    scale = predictor.card.mpp / slide.mpp
    if is_too_coarse(slide.mpp, predictor.card.mpp) and not config.allow_upsampling:
        raise SlideError(
            f"{slide.path.name}: has {slide.mpp:.4g} um per pixel, the model expects {predictor.card.mpp:.4g}; "
            "enlarging it invents detail. Use a model trained at a coarser mpp, or pass --allow-upsampling"
        )
    if config.window_px is None:  # whole cells of the network, or its maps would be wider than the window
        unit = math.lcm(stride, predictor.cell_px)
        window_px = math.ceil(predictor.window_px / unit) * unit
    else:
        window_px = math.ceil(config.window_px / stride) * stride
    return WindowGrid(
        width_px=math.ceil(slide.size_px.width / scale),
        height_px=math.ceil(slide.size_px.height / scale),
        window_px=window_px,
        stride_px=_step(window_px, config.overlap, predictor.cell_px, stride),
        scale=scale,
        offset_px=config.grid_offset_px // stride * stride,
        unit_px=stride,
    )


def _step(window_px: int, overlap: float, cell_px: int, stride: int) -> int:
    """Model pixels between windows, a whole number of map pixels."""
    return max(1, stride_for(window_px, overlap, cell_px=cell_px) // stride) * stride


def _with_tissue(grid: WindowGrid, tissue: TissueMask, min_tissue: float) -> list[Place]:
    """The windows with more tissue than `min_tissue`, of what they show of the slide itself."""
    places: list[Place] = []
    columns = [_inside(x, grid.window_px, grid.width_px) for x in grid.columns]
    for y in grid.rows:
        top, height = _inside(y, grid.window_px, grid.height_px)
        boxes = np.array([grid.to_level0(left, top, width, height) for left, width in columns], np.int64)
        chosen = tissue.fractions(boxes) > min_tissue
        places += [Place(x, y) for x, is_chosen in zip(grid.columns, chosen, strict=True) if is_chosen]
    return places


def _inside(start: int, length: int, whole: int) -> tuple[int, int]:
    """Start and length of the part of a span that lies between 0 and `whole`."""
    first = max(start, 0)
    return first, min(start + length, whole) - first
