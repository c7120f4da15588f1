"""What is decided before the network looks: which windows, which batch a strip begins with."""

from itertools import pairwise

import numpy as np
import pytest
from colour_predictor import ColourPredictor, everywhere, landmarks

from wsi_lpd.config import SegmentConfig
from wsi_lpd.segmentation import plan as plan_module
from wsi_lpd.segmentation.plan import plan_map
from wsi_lpd.segmentation.strips import StripGrid
from wsi_lpd.slide import TissueMask, open_slide


@pytest.fixture
def slide(write_slide):
    with open_slide(write_slide(landmarks())) as slide:
        yield slide


@pytest.mark.parametrize("offset", [0, 12])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_first_batch__holds_the_first_window_that_reaches_the_row(slide, offset, size):
    mask = np.zeros((41, 65), bool)
    mask[3:14, 5:30] = mask[30:35, 20:60] = True
    tissue = TissueMask(mask, 20.0, 20.0)
    plan = plan_map(slide, tissue, ColourPredictor(), SegmentConfig(grid_offset_px=offset, batch_size=size))
    for row in range(0, plan.strips.height, 9):
        reaching = [i for i, p in enumerate(plan.places) if p.top // plan.stride + plan.side > row]
        first = plan.first_batch(row)
        assert first % size == 0
        expected = reaching[0] if reaching else len(plan.places)
        assert first <= expected < first + size


@pytest.mark.parametrize("offset", [0, 12])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_last_batch__holds_the_last_window_that_begins_above_the_row(slide, offset, size):
    plan = plan_map(slide, everywhere(slide), ColourPredictor(), SegmentConfig(grid_offset_px=offset, batch_size=size))
    for row in range(1, plan.strips.height + 1, 9):
        above = sum(p.top // plan.stride < row for p in plan.places)
        end = plan.end_of_batches(row)
        assert end % size == 0 or end == len(plan.places)
        assert above <= end < above + size


@pytest.mark.parametrize("offset", [0, 12])
def test_windows_of_strips__are_counted_where_they_begin(slide, offset, monkeypatch):
    monkeypatch.setattr(plan_module, "StripGrid", lambda *sizes: StripGrid(*sizes, strip_rows=31))
    mask = np.zeros((41, 65), bool)
    mask[3:14, 5:30] = mask[30:35, 20:60] = True
    plan = plan_map(slide, TissueMask(mask, 20.0, 20.0), ColourPredictor(), SegmentConfig(grid_offset_px=offset))
    counts = plan.windows_of_strips()
    assert len(counts) == len(plan.strips)
    assert sum(counts) == len(plan.places)
    for i, count in enumerate(counts[1:], start=1):
        top, bottom = plan.strips.rows_of(i)
        assert count == sum(top <= p.top // plan.stride < bottom for p in plan.places)


def test_the_map__covers_the_slide_and_no_more_than_a_pixel_beside_it(slide):
    plan = plan_map(slide, everywhere(slide), ColourPredictor(mpp=0.61), SegmentConfig())
    for n_pixels, length in ((plan.strips.width, 1300), (plan.strips.height, 820)):
        assert (n_pixels - 1) * plan.downsample < length <= n_pixels * plan.downsample + 1
    assert plan.strips.n_classes == 2
    assert sum(map(len, plan.columns_of_rows.values())) == len(plan.places)
    assert sorted(plan.places, key=lambda p: (p.top, p.left)) == list(plan.places)


def test_the_strips__follow_each_other_and_cover_the_map(slide):
    strips = plan_map(slide, everywhere(slide), ColourPredictor(), SegmentConfig()).strips
    rows = [strips.rows_of(i) for i in range(len(strips))]
    assert rows[0][0] == 0
    assert rows[-1][1] == strips.height
    assert all(a[1] == b[0] for a, b in pairwise(rows))
    assert strips.shapes_of(len(strips) - 1)[1] == (3, rows[-1][1] - rows[-1][0], strips.width)
