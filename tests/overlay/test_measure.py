from __future__ import annotations

import math

import numpy as np
import pytest
from label_maps import drawn

from wsi_lpd.overlay.measure import measurements, tally_pixels
from wsi_lpd.overlay.trace import trace_regions

MAP = drawn(["1.22", "1.22", "..x1"])


def measured(label_map, *, pixel_area_um2=None, class_names=(), **pixels):
    regions = trace_regions(label_map)
    tally = tally_pixels(regions.components, len(regions), **pixels)
    return measurements(tally, regions.labels, pixel_area_um2=pixel_area_um2, class_names=class_names)


def test_measurements__area_in_um2():
    rows = measured(MAP, pixel_area_um2=0.25)
    assert rows == [
        {"Predicted area um2": 0.5},
        {"Predicted area um2": 1.0},
        {"Predicted area um2": 0.25},
    ]


def test_measurements__mean_probability_of_its_own_class_and_of_each():
    probabilities = np.zeros((3, 3, 4), dtype=np.uint8)
    probabilities[1, 0, 0], probabilities[1, 1, 0] = 255, 51
    probabilities[2, 0, 2:] = 102
    probabilities[0, 2, 3] = 255
    rows = measured(MAP, probabilities=probabilities, class_names=("Tumor", "Stroma"))
    assert rows == [
        {"Mean probability": 0.6, "Mean probability Tumor": 0.6, "Mean probability Stroma": 0.0},
        {"Mean probability": 0.2, "Mean probability Tumor": 0.0, "Mean probability Stroma": 0.2},
        {"Mean probability": 0.0, "Mean probability Tumor": 0.0, "Mean probability Stroma": 0.0},
    ]


def test_measurements__dominant_prototype_counts_from_one():
    prototypes = np.array([[4, 9, 0, 2], [4, 9, 2, 2], [9, 9, 9, 1]], dtype=np.uint8)
    rows = measured(MAP, prototypes=prototypes)
    assert rows == [
        {"Dominant prototype": 5.0, "Dominant prototype share": 1.0},
        {"Dominant prototype": 3.0, "Dominant prototype share": 0.75},
        {"Dominant prototype": 2.0, "Dominant prototype share": 1.0},
    ]


def test_measurements__nothing_to_measure():
    assert measured(drawn(["..x"]), pixel_area_um2=1.0) == []
    assert measured(MAP) == [{}, {}, {}]


def test_measurements__names_must_fit_the_probabilities():
    with pytest.raises(ValueError, match="zip"):
        measured(MAP, pixel_area_um2=1.0, probabilities=np.zeros((3, 3, 4), np.uint8), class_names=("Tumor",))


def test_measurements__pixels_without_a_prototype_do_not_count():
    prototypes = np.array([[255, 9, 255, 255], [4, 9, 255, 2], [9, 9, 9, 255]], dtype=np.uint8)
    rows = measured(MAP, prototypes=prototypes)
    assert rows[0] == {"Dominant prototype": 5.0, "Dominant prototype share": 0.5}
    assert rows[1] == {"Dominant prototype": 3.0, "Dominant prototype share": 0.25}
    assert math.isnan(rows[2]["Dominant prototype"])


def test_tally__parts_add_up_whatever_prototypes_each_has():
    upper = tally_pixels(np.array([[1, 1, 2]], np.int32), 2, prototypes=np.array([[4, 4, 0]], np.uint8))
    lower = tally_pixels(np.array([[0, 1, 1]], np.int32), 1, prototypes=np.array([[7, 1, 1]], np.uint8))
    whole = upper.followed_by(lower).summed(np.array([1, 0, 1]), 2)
    assert whole.areas_px.tolist() == [1, 4]
    assert whole.prototypes.tolist() == [[1, 0, 0, 0, 0], [0, 2, 0, 0, 2]]
    assert whole.probabilities is None
    assert whole.of(np.array([False, True])).areas_px.tolist() == [4]
