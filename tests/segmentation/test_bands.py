"""Windows are cut where they should be, and no pixel of the slide is read twice."""

import itertools
import threading

import numpy as np
import pytest

from wsi_lpd.errors import SlideError
from wsi_lpd.prediction.windows import Place, WindowGrid
from wsi_lpd.segmentation.bands import BandReader
from wsi_lpd.types import Size


class Ramp:
    """A slide of which every pixel is different; it says what was read of it."""

    def __init__(self, width, height):
        self.size_px = Size(width, height)
        y, x = np.mgrid[:height, :width]
        self.pixels = np.stack([x % 256, y % 256, x // 256 * 16 + y // 256], axis=-1).astype(np.uint8)
        self.boxes = []
        self.threads = set()

    def read(self, box, size_px):
        assert size_px == Size(box.width, box.height)
        self.boxes.append(box)
        self.threads.add(threading.current_thread().name)
        assert min(box.x, box.y) >= 0
        assert box.x + box.width <= self.size_px.width
        assert box.y + box.height <= self.size_px.height
        return self.pixels[box.y : box.y + box.height, box.x : box.x + box.width].copy()

    def window(self, place):
        """What a window of 64 px there shows."""
        padded = np.pad(self.pixels, ((100, 100), (100, 100), (0, 0)), mode="symmetric")
        return padded[place.top + 100 :, place.left + 100 :][:64, :64]

    def times_read(self):
        times = np.zeros(self.pixels.shape[:2], int)
        for box in self.boxes:
            times[box.y : box.y + box.height, box.x : box.x + box.width] += 1
        return times


def grid_of(width, height, *, window_px=64, stride_px=40, offset_px=0):
    return WindowGrid(width, height, window_px, stride_px, 1.0, offset_px)


def cut_all(slide, grid, places, *, threads=2, wanted=None):
    columns = {}
    for left, top in places if wanted is None else wanted:
        columns.setdefault(top, []).append(left)
    windows = np.empty((len(places), grid.window_px, grid.window_px, 3), np.uint8)
    with BandReader(slide, grid, columns, threads=threads) as reader:
        for place, into in zip(places, windows, strict=True):
            reader.cut(place, into)
    assert not [t for t in threading.enumerate() if t.name.startswith("read")]
    return windows


@pytest.mark.parametrize(("stride", "offset"), [(64, 0), (40, 0), (24, 17), (13, 5)])
def test_windows__show_what_lies_there_and_every_pixel_is_read_once(stride, offset):
    slide, grid = Ramp(330, 270), grid_of(330, 270, stride_px=stride, offset_px=offset)
    places = [Place(x, y) for y in grid.rows for x in grid.columns]
    for place, window in zip(places, cut_all(slide, grid, places), strict=True):
        np.testing.assert_array_equal(window, slide.window(place))
    assert (slide.times_read()[64:-64, 64:-64] == 1).all(), "near the edges it is mirrored, and may be read again"


def test_only_what_windows_show__is_read():
    slide, grid = Ramp(9024, 264), grid_of(9024, 264)
    places = [Place(40, 0), Place(7000, 0), Place(8000, 200)]
    for place, window in zip(places, cut_all(slide, grid, places), strict=True):
        np.testing.assert_array_equal(window, slide.window(place))
    times = slide.times_read()
    assert times.max() == 1
    assert times[:, 104:7000].sum() == 0
    assert times[80:200].sum() == 0, "between the rows of windows"
    assert times.sum() == 2 * 64 * 80 + 64 * 64  # bands are 40 high, two to a window; the last ends with the slide


@pytest.mark.parametrize("first", [1, 5, 11])
def test_cutting__may_begin_anywhere_and_reads_at_the_same_places(first):
    grid = grid_of(330, 270, stride_px=24)
    places = [Place(x, y) for y in grid.rows for x in grid.columns]
    whole, part = Ramp(330, 270), Ramp(330, 270)
    windows = cut_all(whole, grid, places)
    np.testing.assert_array_equal(cut_all(part, grid, places[first:], wanted=places), windows[first:])
    assert set(part.boxes) <= set(whole.boxes)


def test_columns__are_read_by_several_threads():
    slide, grid = Ramp(9000, 150), grid_of(9000, 150)
    met, number = threading.Barrier(3, timeout=10), itertools.count()
    read = slide.read

    def together(box, size_px):
        if next(number) < 3:
            met.wait()
        return read(box, size_px)

    slide.read = together
    places = [Place(x, y) for y in grid.rows for x in grid.columns]
    cut_all(slide, grid, places, threads=3)
    assert len(slide.threads) == 3


def test_an_error__is_raised_by_the_window_that_needs_the_pixels():
    slide, grid = Ramp(330, 264), grid_of(330, 264)
    read = slide.read

    def damaged(box, size_px):
        if box.y >= 80:
            raise SlideError("damaged")
        return read(box, size_px)

    slide.read = damaged
    into = np.empty((64, 64, 3), np.uint8)
    with BandReader(slide, grid, dict.fromkeys(grid.rows, grid.columns), threads=2) as reader:
        reader.cut(Place(0, 0), into)
        with pytest.raises(SlideError, match="damaged"):
            reader.cut(Place(0, 40), into)
