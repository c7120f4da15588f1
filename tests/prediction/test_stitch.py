"""Stitching: weights are divided by their sum, so what the network says everywhere is what the map says everywhere."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_lpd.prediction import stitch as stitch_module
from wsi_lpd.prediction.stitch import StripSums, WindowMaps, window_weight
from wsi_lpd.prediction.stitch import stitched as strips_of
from wsi_lpd.prediction.windows import Place


def stitched(window_at, *, n_classes, width, height, side, stride, offset=0, strip_rows=16):
    """Stitches a whole map; `window_at(x, y)` gives the maps of a window."""
    rows = range(-offset, max(height - side, -offset) + stride, stride)
    columns = range(-offset, max(width - side, -offset) + stride, stride)
    windows = [(Place(x, y), window_at(x, y)) for y in rows for x in columns]
    edges = [*range(0, height, strip_rows), height]
    strips = list(pairwise(edges))
    parts = list(strips_of(windows, strips, n_classes=n_classes, width=width, side=side))
    assert [part.top for part in parts] == edges[:-1]
    return {
        name: np.concatenate([getattr(part, name) for part in parts], axis=-2)
        for name in ("logits", "presence", "prototypes", "covered")
    }


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 70),
    side=st.sampled_from([8, 14, 23]),
    overlap=st.sampled_from([0, 0.25, 0.5, 0.8]),
    offset=st.integers(0, 7),
    strip_rows=st.sampled_from([1, 5, 16, 100]),
)
def test_a_constant_network__gives_that_constant_everywhere(width, height, side, overlap, offset, strip_rows):
    stride = max(1, round(side * (1 - overlap)))
    offset = min(offset, stride - 1)
    logits = np.array([0.7, -1.3, 4.0], np.float32)[:, None, None] * np.ones((3, side, side), np.float32)
    maps = WindowMaps(logits, np.array([0.25, 0.9], np.float32), np.full((2, side, side), 3, np.uint8))
    result = stitched(
        lambda x, y: maps,
        n_classes=2,
        width=width,
        height=height,
        side=side,
        stride=stride,
        offset=offset,
        strip_rows=strip_rows,
    )
    assert result["covered"].all()
    for c, value in enumerate((0.7, -1.3, 4.0)):
        np.testing.assert_allclose(result["logits"][c], value, rtol=1e-5)
    np.testing.assert_allclose(result["presence"][0], 0.25, rtol=1e-5)
    np.testing.assert_allclose(result["presence"][1], 0.9, rtol=1e-5)
    assert (result["prototypes"] == 3).all()


@pytest.mark.parametrize("overlap", [0, 0.5])
def test_windows_cut_from_an_image__stitch_back_to_it(overlap):
    rng = np.random.default_rng(0)
    side, width, height = 12, 61, 44
    stride = round(side * (1 - overlap))
    image = rng.normal(size=(3, height + 2 * side, width + 2 * side)).astype(np.float32)
    prototypes = rng.integers(0, 5, (2, *image.shape[1:])).astype(np.uint8)

    def window_at(x, y):
        part = (slice(None), slice(y, y + side), slice(x, x + side))
        return WindowMaps(image[part], np.ones(2, np.float32), prototypes[part])

    result = stitched(window_at, n_classes=2, width=width, height=height, side=side, stride=stride)
    np.testing.assert_allclose(result["logits"], image[:, :height, :width], atol=1e-4)
    np.testing.assert_array_equal(result["prototypes"], prototypes[:, :height, :width])


def test_rows_without_a_window__are_told():
    maps = WindowMaps(np.ones((2, 6, 6), np.float32), np.ones(1, np.float32), np.zeros((1, 6, 6), np.uint8))
    strips = [(0, 6), (6, 12), (12, 14)]
    parts = list(strips_of([(Place(4, 0), maps), (Place(1, 11), maps)], strips, n_classes=1, width=20, side=6))
    covered = np.concatenate([rows.covered for rows in parts])
    expected = np.zeros((14, 20), bool)
    expected[0:6, 4:10] = expected[11:14, 1:7] = True
    np.testing.assert_array_equal(covered, expected)


def test_no_more_strips_are_held_than_a_window_reaches(monkeypatch):
    held, most = set(), []

    class Counted(StripSums):
        def __init__(self, *rows, **sizes):
            super().__init__(*rows, **sizes)
            held.add(self)
            most.append(len(held))

        def finished(self):
            held.discard(self)
            return super().finished()

    monkeypatch.setattr(stitch_module, "StripSums", Counted)
    maps = WindowMaps(np.ones((2, 9, 9), np.float32), np.ones(1, np.float32), np.zeros((1, 9, 9), np.uint8))
    windows = ((Place(x, y), maps) for y in range(0, 90, 6) for x in (0, 5))
    strips = [(top, top + 4) for top in range(0, 92, 4)]
    assert sum(1 for _ in strips_of(windows, strips, n_classes=1, width=14, side=9)) == len(strips)
    assert len(most) == len(strips)
    assert max(most) == 3


@pytest.mark.parametrize("first", [1, 2, 4])
def test_a_map_begun_further_down__has_the_same_bits(first):
    rng = np.random.default_rng(1)
    windows = [
        (
            Place(x, y),
            WindowMaps(
                rng.normal(size=(3, 12, 12)).astype(np.float32),
                rng.random(2).astype(np.float32),
                rng.integers(0, 9, (2, 12, 12), np.uint8),
            ),
        )
        for y in range(-2, 46, 5)
        for x in range(-2, 40, 5)
    ]
    strips = list(pairwise([*range(0, 50, 11), 50]))
    whole = list(strips_of(windows, strips, n_classes=2, width=43, side=12))
    later = list(strips_of(windows, strips[first:], n_classes=2, width=43, side=12))
    for one, other in zip(whole[first:], later, strict=True):
        assert one.top == other.top
        for name in ("logits", "presence", "prototypes", "covered"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_weight__is_symmetric_positive_and_highest_in_the_middle():
    weight = window_weight(9)
    assert (weight > 0).all()
    assert weight.argmax() == 4 * 9 + 4
    np.testing.assert_allclose(weight, weight[::-1, ::-1], rtol=1e-5)
