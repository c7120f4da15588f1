"""Laws of the window grid."""

import itertools
import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsi_lpd.prediction.windows import WindowGrid, mirrored, stride_for

grids = st.builds(
    WindowGrid,
    width_px=st.integers(1, 900),
    height_px=st.integers(1, 700),
    window_px=st.sampled_from([64, 96, 224]),
    stride_px=st.sampled_from([16, 32, 48, 64]),
    scale=st.floats(0.3, 5),
    offset_px=st.sampled_from([0, 8, 15]),
    unit_px=st.sampled_from([1, 4, 16]),
)


@given(grids)
def test_windows__cover_the_slide_and_none_is_to_spare(grid):
    for starts, length in ((grid.columns, grid.width_px), (grid.rows, grid.height_px)):
        assert starts[0] <= -grid.offset_px
        assert (starts[0] + grid.offset_px) % grid.unit_px == 0
        assert starts[-1] + grid.window_px >= length
        reach = starts[-1] + grid.window_px - starts[0]
        assert len(starts) == 1 or reach - grid.stride_px < length + grid.offset_px
        assert all(b - a == grid.stride_px for a, b in itertools.pairwise(starts))


@given(grids)
def test_windows__reach_equally_far_past_opposite_edges(grid):
    grid = replace(grid, offset_px=0)
    for starts, length in ((grid.columns, grid.width_px), (grid.rows, grid.height_px)):
        before, after = -starts[0], starts[-1] + grid.window_px - length
        assert 0 <= after - before < 2 * grid.unit_px


@given(st.integers(1, 40), st.integers(0, 90), st.integers(0, 90))
def test_mirrored__is_what_numpy_pads_symmetrically(length, before, after):
    expected = np.pad(np.arange(length), (before, after), mode="symmetric")
    np.testing.assert_array_equal(mirrored(-before, before + length + after, length), expected)


@given(grids, st.integers(0, 400), st.integers(0, 300), st.integers(1, 200), st.integers(1, 90))
def test_level0_boxes__of_neighbours_share_their_edge(grid, x, y, width, height):
    left = grid.to_level0(x, y, width, height)
    right = grid.to_level0(x + width, y, 50, height)
    below = grid.to_level0(x, y + height, width, 50)
    assert left.x + left.width == right.x
    assert left.y + left.height == below.y


@given(st.sampled_from([64, 96, 128, 200, 448]), st.floats(0, 0.95), st.sampled_from([7, 8, 14, 16, 32]))
def test_stride__is_an_odd_number_of_half_cells_and_no_wider_than_asked(window_px, overlap, cell_px):
    stride_px = stride_for(window_px, overlap, cell_px=cell_px)
    n_half_cells = round(stride_px / (cell_px / 2) - 1e-9)  # a cell of 7 has no whole half
    assert n_half_cells % 2 == 1
    assert abs(stride_px - n_half_cells * cell_px / 2) <= 0.5
    assert stride_px <= max(window_px * (1 - overlap) + 0.5, math.ceil(cell_px / 2))


def test_stride__at_the_default_overlap():
    assert stride_for(128, 0.5, cell_px=16) == 56
    assert stride_for(448, 0.5, cell_px=16) == 216
    assert stride_for(128, 0.0, cell_px=16) == 120
    assert stride_for(64, 0.95, cell_px=16) == 8
