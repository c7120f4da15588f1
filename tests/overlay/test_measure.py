from __future__ import annotations

import math

import numpy as np
import pytest
from label_maps import drawn

from wsi_lpd.overlay.raster.strips import NO_PROTOTYPE
from wsi_lpd.overlay.tracing.measure import measurements, tally_pixels
from wsi_lpd.overlay.tracing.trace import trace_regions

MAP = drawn(["1.22", "1.22", "..x1"])

NAMES = ("Tumor", "Stroma")


def measured(label_map=MAP, *, probabilities=None, prototypes=None, class_names=NAMES):
    """The rows of the table as columns; half a micrometre is the side of a pixel."""
    regions = trace_regions(label_map)
    nothing, none = np.zeros((3, *label_map.shape), np.uint8), np.full(label_map.shape, NO_PROTOTYPE, np.uint8)
    tally = tally_pixels(
        regions.components,
        len(regions),
        probabilities=nothing if probabilities is None else probabilities,
        prototypes=none if prototypes is None else prototypes,
    )
    rows = measurements(tally, regions.labels, pixel_area_um2=0.25, class_names=class_names)
    assert len(rows) == len(regions)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def test_measurements__area_in_um2():
    assert measured()["Predicted area um2"] == [0.5, 1.0, 0.25]


def test_measurements__mean_probability_of_its_own_class_and_of_each():
    probabilities = np.zeros((3, 3, 4), dtype=np.uint8)
    probabilities[1, 0, 0], probabilities[1, 1, 0] = 255, 51
    probabilities[2, 0, 2:] = 102
    probabilities[0, 2, 3] = 255
    columns = measured(probabilities=probabilities)
    assert columns["Mean probability"] == [0.6, 0.2, 0.0]
    assert columns["Mean probability Tumor"] == [0.6, 0.0, 0.0]
    assert columns["Mean probability Stroma"] == [0.0, 0.2, 0.0]


def test_measurements__dominant_prototype_counts_from_one():
    columns = measured(prototypes=np.array([[4, 9, 0, 2], [4, 9, 2, 2], [9, 9, 9, 1]], dtype=np.uint8))
    assert columns["Dominant prototype"] == [5.0, 3.0, 2.0]
    assert columns["Dominant prototype share"] == [1.0, 0.75, 1.0]


def test_measurements__come_in_the_order_of_the_table():
    assert list(measured()) == [
        "Predicted area um2",
        "Mean probability",
        "Mean probability Tumor",
        "Mean probability Stroma",
        "Dominant prototype",
        "Dominant prototype share",
    ]


def test_measurements__nothing_to_measure():
    assert measured(drawn(["..x"])) == {}


def test_measurements__names_must_fit_the_probabilities():
    with pytest.raises(ValueError, match="zip"):
        measured(class_names=("Tumor",))


def test_measurements__pixels_without_a_prototype_do_not_count():
    columns = measured(prototypes=np.array([[255, 9, 255, 255], [4, 9, 255, 2], [9, 9, 9, 255]], dtype=np.uint8))
    assert columns["Dominant prototype"][:2] == [5.0, 3.0]
    assert columns["Dominant prototype share"] == [0.5, 0.25, 0.0]
    assert math.isnan(columns["Dominant prototype"][2])


def test_tally__parts_add_up_whatever_prototypes_each_has():
    upper = tally_pixels(
        np.array([[1, 1, 2]], np.int32),
        2,
        probabilities=np.array([[[7, 8, 9]], [[1, 2, 4]]], np.uint8),
        prototypes=np.array([[4, 4, 0]], np.uint8),
    )
    lower = tally_pixels(
        np.array([[0, 1, 1]], np.int32),
        1,
        probabilities=np.array([[[90, 10, 20]], [[200, 30, 50]]], np.uint8),
        prototypes=np.array([[7, 1, 1]], np.uint8),
    )
    whole = upper.followed_by(lower).summed(np.array([1, 0, 1]), 2)
    assert whole.areas_px.tolist() == [1, 4]
    assert whole.prototypes.tolist() == [[1, 0, 0, 0, 0], [0, 2, 0, 0, 2]]
    assert whole.probabilities.tolist() == [[9, 4], [45, 83]]
    assert whole.of(np.array([False, True])).areas_px.tolist() == [4]
