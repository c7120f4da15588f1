from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_maps import label_maps, noise, strip_heights, strips_of

from wsi_lpd.overlay.strips import Strip, recut


@given(label_maps, strip_heights, st.integers(1, 6))
def test_recut__gives_the_same_rows_in_strips_of_one_height(label_map, heights, height):
    given_strips = strips_of(label_map, heights, n_classes=2, n_prototypes=3)
    strips = list(recut(given_strips, height))
    assert all(strip.height == height for strip in strips[:-1])
    assert 1 <= strips[-1].height <= height
    for before, after in zip(zip(*given_strips, strict=True), zip(*strips, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(after, axis=-2), np.concatenate(before, axis=-2))


def test_recut__passes_over_empty_strips():
    rows = noise(7, 5, sigma=1, seed=1)
    strips = list(recut([Strip(rows[:0]), Strip(rows[:3]), Strip(rows[:0]), Strip(rows[3:])], 4))
    assert [strip.height for strip in strips] == [4, 3]
    assert list(recut([Strip(rows[:0])], 4)) == []


def test_recut__refuses_what_does_not_fit():
    rows = noise(7, 5, sigma=1, seed=1)
    with pytest.raises(ValueError, match="5 and 4 pixels wide"):
        list(recut([Strip(rows), Strip(rows[:, 1:])], 10))
    with pytest.raises(ValueError, match="what belongs to them"):
        list(recut([Strip(rows, None, rows[1:])], 10))
    with pytest.raises(ValueError, match="others have none"):
        list(recut([Strip(rows, None, rows), Strip(rows)], 10))
