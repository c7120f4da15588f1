"""From a slide and a predictor to a map: no label argument anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from wsi_lpd.classes import TissueClass
from wsi_lpd.config import SegmentConfig
from wsi_lpd.errors import SlideError
from wsi_lpd.progress import SILENT, Advance, Progress
from wsi_lpd.segment.bands import BandReader, ahead
from wsi_lpd.segment.decide import decide
from wsi_lpd.segment.predictor import Predictor
from wsi_lpd.segment.slide_map import SlideMap
from wsi_lpd.segment.stitch import StitchedRows, Stitcher, WindowMaps
from wsi_lpd.segment.windows import WindowGrid, stride_for
from wsi_lpd.slide import Slide, TissueMask
from wsi_lpd.types import BoolArray, UInt8Array

_UPSAMPLING_TOLERANCE = 1.1


def segment_slide(
    slide: Slide, tissue: TissueMask, predictor: Predictor, config: SegmentConfig, *, progress: Progress = SILENT
) -> SlideMap:
    """Looks at every window with tissue and stitches what the network says into one map.

    Args:
        slide: An open slide with a known mpp.
        tissue: Where to look; outside it the map is background.
        predictor: The model.
        config: Overlap, gate, stride of the map.
        progress: Told of every window.

    Raises:
        SlideError: If the slide has no mpp, or is coarser than the model's mpp and `allow_upsampling` is off.
    """
    stride = map_stride(slide, predictor, config)
    grid = window_grid(slide, predictor, config, stride)
    wanted = _windows_with_tissue(grid, tissue, config.min_tissue)
    n_windows = sum(map(len, wanted.values()))
    result = SlideMap.blank(
        height=math.ceil(grid.height_px / stride),
        width=math.ceil(grid.width_px / stride),
        downsample=stride * grid.scale,
        mpp=stride * predictor.card.mpp,
        classes=tuple(TissueClass(c.name, c.color) for c in predictor.card.classes),
        n_windows=n_windows,
    )
    with progress.stage(f"segmenting {slide.name}", n_windows, "windows") as advance:
        bands = ahead(BandReader(slide, grid, wanted))
        predicted = predicted_rows(bands, predictor, config, stride=stride, advance=advance)
        for rows in stitched_rows(
            predicted, grid, stride=stride, n_classes=len(result.classes), width=result.labels.shape[1]
        ):
            _write(result, rows, tissue, gated=config.gate == "predicted")
    return result


def map_stride(slide: Slide, predictor: Predictor, config: SegmentConfig) -> int:
    """Model pixels per map pixel: as configured, doubled until a map pixel is at least one slide pixel wide."""
    stride = config.output_stride
    while stride * predictor.card.mpp < slide.mpp:
        stride *= 2
    return stride


def window_grid(slide: Slide, predictor: Predictor, config: SegmentConfig, stride: int) -> WindowGrid:
    """The grid of windows over a slide at the model's mpp."""
    scale = predictor.card.mpp / slide.mpp
    if scale * _UPSAMPLING_TOLERANCE < 1 and not config.allow_upsampling:
        raise SlideError(
            f"{slide.path.name}: has {slide.mpp:.4g} um per pixel, the model expects {predictor.card.mpp:.4g}; "
            "enlarging it invents detail. Use a model trained at a coarser mpp, or pass --allow-upsampling"
        )
    window_px = predictor.window_px if config.window_px is None else config.window_px
    window_px = math.ceil(window_px / stride) * stride
    return WindowGrid(
        width_px=math.ceil(slide.size_px.width / scale),
        height_px=math.ceil(slide.size_px.height / scale),
        window_px=window_px,
        stride_px=_step(window_px, config.overlap, predictor.cell_px, stride),
        scale=scale,
        offset_px=config.grid_offset_px // stride * stride,
    )


def _step(window_px: int, overlap: float, cell_px: int, stride: int) -> int:
    """Model pixels between windows, a whole number of map pixels."""
    return max(1, stride_for(window_px, overlap, cell_px=cell_px) // stride) * stride


def _windows_with_tissue(grid: WindowGrid, tissue: TissueMask, min_tissue: float) -> dict[int, list[int]]:
    """Left edges of the windows with more tissue than `min_tissue`, for the top of each row that has any."""
    wanted = {}
    columns = grid.columns
    for y in grid.rows:
        boxes = np.array([grid.to_level0(x, y, grid.window_px, grid.window_px) for x in columns], np.int64)
        share = tissue.fractions(boxes)
        chosen = [x for x, s in zip(columns, share, strict=True) if s > min_tissue]
        if chosen:
            wanted[y] = chosen
    return wanted


def predicted_rows(
    bands: Iterable[tuple[int, list[int], UInt8Array]],
    predictor: Predictor,
    config: SegmentConfig,
    *,
    stride: int,
    advance: Advance,
) -> Iterator[tuple[int, list[tuple[int, WindowMaps]]]]:
    """What the network says of every row of windows: (top, [(left, maps)])."""
    for top, columns, windows in bands:
        row: list[tuple[int, WindowMaps]] = []
        for start in range(0, len(columns), config.batch_size):
            batch = slice(start, start + config.batch_size)
            maps = predictor.predict(windows[batch], output_stride=stride, views=config.views, refinement=config.refine)
            row += zip(columns[batch], maps, strict=True)
            advance(len(maps))
        yield top, row


def stitched_rows(
    predicted: Iterable[tuple[int, list[tuple[int, WindowMaps]]]],
    grid: WindowGrid,
    *,
    stride: int,
    n_classes: int,
    width: int,
) -> Iterator[StitchedRows]:
    """Finished rows of the map, from top to bottom; positions in map pixels."""
    side = grid.window_px // stride
    stitcher = Stitcher(n_classes=n_classes, width=width, side=side, top=grid.rows[0] // stride)
    for top, row in predicted:
        if top > grid.rows[0]:
            yield stitcher.finish_before(top // stride)
        for left, maps in row:
            stitcher.add(left // stride, top // stride, maps)
    yield stitcher.finish_before(grid.rows[-1] // stride + side)


def _write(result: SlideMap, rows: StitchedRows, tissue: TissueMask, *, gated: bool) -> None:
    """Decides the rows that lie on the slide and puts them in their place."""
    height, width = result.labels.shape
    first, last = max(rows.top, 0), min(rows.top + rows.covered.shape[0], height)
    if first >= last:
        return
    rows = rows.between(first, last)
    there = _tissue_rows(tissue, first, last, width, result.downsample)
    here = slice(first, last)
    result.labels[here], result.probabilities[:, here], result.prototypes[here] = decide(
        rows, tissue=there, gated=gated
    )


def _tissue_rows(tissue: TissueMask, first: int, last: int, width: int, downsample: float) -> BoolArray:
    """The tissue mask at the centres of map pixels, (rows, width)."""
    mask = tissue.mask
    y = ((np.arange(first, last) + 0.5) * downsample / tissue.downsample_y).astype(np.int64)
    x = ((np.arange(width) + 0.5) * downsample / tissue.downsample_x).astype(np.int64)
    rows: BoolArray = mask[np.minimum(y, mask.shape[0] - 1)[:, None], np.minimum(x, mask.shape[1] - 1)[None]]
    return rows
