from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_maps import label_maps, noise, strip_heights, strips_of

from wsi_lpd.overlay.raster.strips import Strip, recut


@given(label_maps, strip_heights, st.integers(1, 6))
def test_recut__gives_the_same_rows_in_strips_of_one_height(label_map, heights, height):
    given_strips = strips_of(label_map, heights)
    strips = list(recut(given_strips, height))
    assert all(strip.height == height for strip in strips[:-1])
    assert 1 <= strips[-1].height <= height
    for before, after in zip(zip(*given_strips, strict=True), zip(*strips, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(after, axis=-2), np.concatenate(before, axis=-2))


def test_recut__passes_over_empty_strips():
    (rows,) = strips_of(noise(7, 5, sigma=1, seed=1), [7])
    empty = rows.between(0, 0)
    strips = list(recut([empty, rows.between(0, 3), empty, rows.between(3, 7)], 4))
    assert [strip.height for strip in strips] == [4, 3]
    assert list(recut([empty], 4)) == []


def test_recut__refuses_what_does_not_fit():
    (rows,) = strips_of(noise(7, 5, sigma=1, seed=1), [7])
    narrow = Strip(*(part[..., 1:] for part in rows))
    with pytest.raises(ValueError, match="size 5 and the array at index 1 has size 4"):
        list(recut([rows, narrow], 10))
    with pytest.raises(ValueError, match="an array of the strip has shape"):
        list(recut([rows._replace(prototypes=rows.prototypes[1:])], 10))
    with pytest.raises(ValueError, match="size 4 and the array at index 1 has size 3"):
        list(recut([rows, rows._replace(probabilities=rows.probabilities[1:])], 10))


def test_a_blank_strip__is_background_for_certain():
    blank = Strip.blank(rows=2, width=3, n_classes=2)
    assert not blank.labels.any()
    assert blank.probabilities[:, 1, 2].tolist() == [255, 0, 0]
    assert (blank.prototypes == 255).all()
