"""Laws of the window grid."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from wsi_lpd.segment.windows import WindowGrid, stride_for

grids = st.builds(
    WindowGrid,
    width_px=st.integers(1, 900),
    height_px=st.integers(1, 700),
    window_px=st.sampled_from([64, 96, 224]),
    stride_px=st.sampled_from([16, 32, 48, 64]),
    scale=st.floats(0.3, 5),
    offset_px=st.sampled_from([0, 8, 15]),
)


@given(grids)
def test_windows__cover_the_slide_and_none_is_to_spare(grid):
    for starts, length in ((grid.columns, grid.width_px), (grid.rows, grid.height_px)):
        assert starts[0] == -grid.offset_px
        assert starts[-1] + grid.window_px >= length
        assert len(starts) == 1 or starts[-2] + grid.window_px < length
        assert all(b - a == grid.stride_px for a, b in itertools.pairwise(starts))


@given(grids, st.integers(0, 400), st.integers(0, 300), st.integers(1, 200), st.integers(1, 90))
def test_level0_boxes__of_neighbours_share_their_edge(grid, x, y, width, height):
    left = grid.to_level0(x, y, width, height)
    right = grid.to_level0(x + width, y, 50, height)
    below = grid.to_level0(x, y + height, width, 50)
    assert left.x + left.width == right.x
    assert left.y + left.height == below.y


def test_stride__is_a_multiple_of_the_encoders_grid_and_never_zero():
    assert stride_for(224, 0.5) == 112
    assert stride_for(128, 0.0) == 128
    assert stride_for(64, 0.95) == 16
    assert stride_for(200, 0.5) % 16 == 0
