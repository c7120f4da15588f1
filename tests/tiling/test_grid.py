"""The grid: its laws on generated slides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_lpd.errors import ConfigError
from wsi_lpd.tiling.grid import PatchGrid, lay_grid, patches_per_read, plan_reads
from wsi_lpd.types import Box

AREAS = st.builds(Box, st.integers(0, 500), st.integers(0, 500), st.integers(1, 9_000), st.integers(1, 7_000))
SCALES = st.sampled_from([1.0, 2.0, 4.0, 0.5 / 0.499, 0.5 / 0.2527, 0.97, 3.3])


@st.composite
def grids(draw: st.DrawFn) -> PatchGrid:
    scale = draw(SCALES)
    return lay_grid(
        draw(AREAS),
        slide_mpp=0.5 / scale,
        mpp=0.5,
        patch_px=draw(st.integers(16, 600)),
        step_px=draw(st.integers(24, 700)),
    )


@given(grids())
def test_grid__patches_lie_wholly_inside_and_one_more_would_not(grid):
    boxes = grid.boxes(grid.cells())
    for axis, length, start, count in (
        (0, grid.area.width, grid.area.x, grid.columns),
        (1, grid.area.height, grid.area.y, grid.rows),
    ):
        ends = boxes[:, axis] + grid.side - start
        assert boxes[:, axis].min() == start
        if length >= grid.side:
            assert ends.max() <= length
            beyond = grid.boxes(np.array([[count, count]]))[0, axis] + grid.side - start
            assert beyond > length
        else:
            assert count == 1


@given(grids())
def test_grid__neighbours_are_one_step_apart_and_never_drift(grid):
    boxes = grid.boxes(grid.cells())
    columns = np.arange(grid.columns)
    step = grid.step_px * grid.scale  # level-0 px; multiplied first, as another order may lie across a tie of rounding
    exact = grid.area.x + columns * step
    assert np.abs(boxes[: grid.columns, 0] - exact).max() <= 0.5
    assert len(np.unique(boxes[:, :2], axis=0)) == len(boxes) == grid.rows * grid.columns


def test_grid__columns_run_along_x():
    grid = lay_grid(Box(7, 11, 1000, 400), slide_mpp=0.25, mpp=0.5, patch_px=100, step_px=100)
    assert (grid.columns, grid.rows) == (5, 2)
    boxes = grid.boxes(grid.cells())
    assert boxes[1].tolist() == [207, 11, 200, 200]
    assert boxes[5].tolist() == [7, 211, 200, 200]


def test_grid__refuses_a_step_below_one_slide_pixel():
    with pytest.raises(ConfigError, match="expected at least 1; set it to 4 or more"):
        lay_grid(Box(0, 0, 500, 300), slide_mpp=1.0, mpp=0.25, patch_px=64, step_px=2)


@given(grids(), st.integers(1, 9), st.randoms(use_true_random=False))
def test_plan_reads__cuts_every_wanted_patch_once_and_where_it_lies(grid, per_side, random):
    cells = grid.cells()[:4_000]
    wanted = cells[[random.random() < 0.6 for _ in cells]]
    order, reads = plan_reads(grid, wanted, per_side=per_side)
    boxes = grid.boxes(wanted[order])
    assert sorted(order.tolist()) == list(range(len(wanted)))
    n = 0
    for read in reads:
        assert read.first == n
        for x, y in read.offsets_px:
            assert 0 <= x <= read.size_px.width - grid.patch_px
            assert 0 <= y <= read.size_px.height - grid.patch_px
            stretch_x = read.box.width / read.size_px.width
            stretch_y = read.box.height / read.size_px.height
            # Within a pixel of what is scaled: the read's own corners are whole level-0 pixels.
            assert abs(read.box.x + x * stretch_x - boxes[n, 0]) <= 1 + grid.scale
            assert abs(read.box.y + y * stretch_y - boxes[n, 1]) <= 1 + grid.scale
            n += 1
    assert n == len(wanted)


@given(grids(), st.integers(1, 9))
def test_plan_reads__stays_inside_the_area(grid, per_side):
    _, reads = plan_reads(grid, grid.cells()[:2_000], per_side=per_side)
    if grid.area.width >= grid.side and grid.area.height >= grid.side:
        assert all(read.box.x + read.box.width <= grid.area.x + grid.area.width for read in reads)
        assert all(read.box.y + read.box.height <= grid.area.y + grid.area.height for read in reads)


def test_plan_reads__reads_sparse_patches_singly():
    grid = lay_grid(Box(0, 0, 50_000, 30_000), slide_mpp=0.25, mpp=0.25, patch_px=100, step_px=1000)
    _, reads = plan_reads(grid, grid.cells(), per_side=4)
    assert len(reads) == grid.columns * grid.rows


def test_plan_reads__nothing_for_no_patches():
    grid = lay_grid(Box(0, 0, 500, 300), slide_mpp=0.25, mpp=0.25, patch_px=100, step_px=100)
    order, reads = plan_reads(grid, np.empty((0, 2), np.int64), per_side=3)
    assert (len(order), reads) == (0, [])


@given(grids(), st.sampled_from([1.0, 2.0, 4.0]))
def test_patches_per_read__bounds_memory(grid, downsample):
    n = patches_per_read(grid, downsample)
    level_side = ((n - 1) * grid.step_px + grid.patch_px) * grid.scale / downsample
    assert n == 1 or (level_side <= 2049 and n * n * 3 * grid.patch_px**2 <= 32 * 2**20)
