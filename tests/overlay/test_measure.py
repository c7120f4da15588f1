from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from label_maps import drawn, label_maps

from wsi_lpd.overlay.measure import measure_regions, merge_by_class, tally_pixels
from wsi_lpd.overlay.trace import trace_regions

MAP = drawn(["1.22", "1.22", "..x1"])


def test_measure_regions__area_in_um2():
    rows = measure_regions(trace_regions(MAP), pixel_area_um2=0.25)
    assert rows == [
        {"Predicted area um2": 0.5},
        {"Predicted area um2": 1.0},
        {"Predicted area um2": 0.25},
    ]


def test_measure_regions__mean_probability_of_its_own_class_and_of_each():
    probabilities = np.zeros((3, 3, 4), dtype=np.uint8)
    probabilities[1, 0, 0], probabilities[1, 1, 0] = 255, 51
    probabilities[2, 0, 2:] = 102
    probabilities[0, 2, 3] = 255
    rows = measure_regions(
        trace_regions(MAP), pixel_area_um2=None, probabilities=probabilities, class_names=("Tumor", "Stroma")
    )
    assert rows == [
        {"Mean probability": 0.6, "Mean probability Tumor": 0.6, "Mean probability Stroma": 0.0},
        {"Mean probability": 0.2, "Mean probability Tumor": 0.0, "Mean probability Stroma": 0.2},
        {"Mean probability": 0.0, "Mean probability Tumor": 0.0, "Mean probability Stroma": 0.0},
    ]


def test_measure_regions__dominant_prototype_counts_from_one():
    prototypes = np.array([[4, 9, 0, 2], [4, 9, 2, 2], [9, 9, 9, 1]], dtype=np.uint8)
    rows = measure_regions(trace_regions(MAP), pixel_area_um2=None, prototypes=prototypes)
    assert rows == [
        {"Dominant prototype": 5.0, "Dominant prototype share": 1.0},
        {"Dominant prototype": 3.0, "Dominant prototype share": 0.75},
        {"Dominant prototype": 2.0, "Dominant prototype share": 1.0},
    ]


def test_measure_regions__nothing_to_measure():
    assert measure_regions(trace_regions(drawn(["..x"])), pixel_area_um2=1.0) == []
    assert measure_regions(trace_regions(MAP), pixel_area_um2=None) == [{}, {}, {}]


def test_measure_regions__names_must_fit_the_probabilities():
    with pytest.raises(ValueError, match="zip"):
        measure_regions(
            trace_regions(MAP), pixel_area_um2=1.0, probabilities=np.zeros((3, 3, 4), np.uint8), class_names=("Tumor",)
        )


@given(label_maps)
def test_merge_by_class__one_valid_geometry_per_class(label_map):
    regions = trace_regions(label_map)
    merged = merge_by_class(regions)
    assert merged.labels.tolist() == sorted(set(regions.labels.tolist()))
    assert shapely.is_valid(merged.polygons).all()
    assert shapely.area(merged.polygons).tolist() == merged.areas_px.tolist()
    for number, label in enumerate(merged.labels, start=1):
        np.testing.assert_array_equal(merged.components == number, label_map == label)


def test_merge_by_class__is_measured_as_a_whole():
    rows = measure_regions(merge_by_class(trace_regions(MAP)), pixel_area_um2=2.0)
    assert rows == [{"Predicted area um2": 6.0}, {"Predicted area um2": 8.0}]


def test_measure_regions__pixels_without_a_prototype_do_not_count():
    prototypes = np.array([[255, 9, 255, 255], [4, 9, 255, 2], [9, 9, 9, 255]], dtype=np.uint8)
    rows = measure_regions(trace_regions(MAP), pixel_area_um2=None, prototypes=prototypes)
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
