"""Counts and scores, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsi_lpd.evaluation.evaluation import evaluate_maps
from wsi_lpd.evaluation.metrics import confusion
from wsi_lpd.evaluation.protocols import PROTOCOLS, score
from wsi_lpd.evaluation.report import ImageCounts, Report, tally

TRUTH = np.array(
    [
        [1, 1, 2, 0],
        [1, 1, 2, 0],
        [2, 2, 2, 0],
        [0, 255, 1, 0],
    ],
    dtype=np.uint8,
)
PREDICTION = np.array(
    [
        [1, 1, 1, 1],
        [1, 2, 2, 0],
        [2, 0, 2, 2],
        [0, 1, 0, 0],
    ],
    dtype=np.uint8,
)
CLASSES = ("Tumor", "Stroma")
# Rows truth, columns prediction, background first; the 255 is left out.
COUNTS = [
    [3, 1, 1],  # background: (0,3) is called 1, (2,3) is called 2
    [1, 3, 1],  # Tumor: (3,2) is missed, (1,1) is called 2
    [1, 1, 3],  # Stroma: (2,1) is missed, (0,2) is called 1
]


def test_confusion__by_hand():
    assert confusion(TRUTH, PREDICTION, 2).tolist() == COUNTS


def test_evaluate_maps__protocol_a_leaves_true_background_out():
    scores = evaluate_maps(PREDICTION, TRUTH, CLASSES, protocol="A")
    tumor, stroma = scores.classes
    # Tumor: 3 hits, 5 true, 3 + 1 predicted where a class is true -> 3 / (5 + 4 - 3).
    assert (tumor.iou, tumor.dice) == (3 / 6, 6 / 9)
    assert (tumor.precision, tumor.recall) == (3 / 4, 3 / 5)
    assert (tumor.truth_px, tumor.predicted_px) == (5, 4)
    assert (stroma.iou, stroma.dice) == (3 / 6, 6 / 9)
    assert (stroma.truth_px, stroma.predicted_px) == (5, 4)
    assert scores.miou == 0.5
    assert scores.fwiou == 0.5
    assert scores.pixel_accuracy == 6 / 10
    assert scores.protocol == "A"


def test_evaluate_maps__protocol_b_counts_classes_on_true_background_as_wrong():
    scores = evaluate_maps(PREDICTION, TRUTH, CLASSES, protocol="B")
    tumor, stroma = scores.classes
    assert (tumor.iou, tumor.dice, tumor.predicted_px) == (3 / 7, 6 / 10, 5)
    assert (stroma.iou, stroma.dice, stroma.predicted_px) == (3 / 7, 6 / 10, 5)
    assert scores.miou == pytest.approx(3 / 7)
    assert scores.pixel_accuracy == 9 / 15
    assert scores.to_json()["protocol_meaning"] == PROTOCOLS["B"].meaning


# 4 x 5, nothing symmetric: the free prediction may be background, the other is the likeliest class everywhere.
TRUTH_OBLONG = np.array([[1, 1, 2, 2, 0], [1, 1, 2, 2, 0], [1, 255, 2, 0, 0], [1, 1, 1, 0, 0]], dtype=np.uint8)
FREE = np.array([[1, 1, 2, 0, 0], [1, 2, 2, 2, 0], [1, 1, 1, 2, 0], [0, 1, 1, 0, 0]], dtype=np.uint8)
TISSUE_ONLY = np.array([[1, 1, 2, 2, 1], [1, 2, 2, 2, 2], [1, 1, 1, 2, 2], [1, 1, 1, 1, 1]], dtype=np.uint8)


def oblong_report(tissue_only=TISSUE_ONLY):
    forced = None if tissue_only is None else tally(TRUTH_OBLONG, tissue_only, 2)
    image = ImageCounts("i", "g", tally(TRUTH_OBLONG, FREE, 2), forced)
    return Report(CLASSES, (image,), "", (), gate=None if tissue_only is None else "predicted")


@pytest.mark.parametrize(
    ("protocol", "tumor", "stroma"),
    [
        ("A", 6 / 9, 3 / 6),  # hits 6 of 8 true, 7 told; 3 of 5, 4 told
        ("B", 6 / 9, 3 / 7),  # and (2, 3), true background, is told to be Stroma
        ("C", 7 / 12, 4 / 9),  # all six true background pixels are false positives, three of each
        ("D", 6 / 9, 3 / 7),
    ],
)
def test_scores__by_hand_under_every_protocol(protocol, tumor, stroma):
    scores = oblong_report().scores(protocol)
    assert scores.iou == {"Tumor": pytest.approx(tumor), "Stroma": pytest.approx(stroma)}
    assert scores.miou == pytest.approx((tumor + stroma) / 2)
    rule = scores.to_json()["pixel_rule"]
    assert rule["true_background"] == ("left out" if protocol == "A" else "counted")
    assert rule["predicted_background"] == ("not allowed" if protocol == "C" else "allowed")


def test_scores__of_files_take_predicted_background_as_it_is_and_say_so():
    report = oblong_report(tissue_only=None)
    assert report.scores("C").iou == report.scores("B").iou
    assert report.notes("B") == ()
    assert report.notes("C")[0].startswith("C allows no predicted background; the files contain 7 such pixels")
    assert oblong_report().notes("C") == ()
    summary = report.to_json(("C",))["protocols"]["C"]
    assert summary["notes"] == list(report.notes("C"))
    assert summary["gate"] == summary["refinement"] == "as in the files"
    assert "ORACLE" in summary["published_with"]


def test_score__the_weights_of_fwiou_are_the_true_pixels_of_the_classes():
    counts = np.array([[50, 0, 0], [0, 6, 2], [0, 0, 4]])
    scores = score(counts, CLASSES, "B")
    assert [c.iou for c in scores.classes] == [6 / 8, 4 / 6]
    assert scores.fwiou == pytest.approx((8 * 6 / 8 + 4 * 4 / 6) / 12)
    assert scores.mdice == pytest.approx((12 / 14 + 8 / 10) / 2)


def test_score__a_class_that_occurs_nowhere_is_in_no_mean():
    counts = np.zeros((4, 4), dtype=int)
    counts[1, 1], counts[3, 3], counts[3, 1] = 4, 2, 2
    scores = score(counts, ("A", "B", "C"), "A")
    assert scores.absent == ["B"]
    assert scores.iou == {"A": 4 / 6, "C": 2 / 4}
    assert scores.miou == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert scores.classes[1] == ("B", None, None, None, None, 0, 0)
    assert scores.to_json()["per_class"]["B"]["iou"] is None
    assert scores.to_json()["classes_absent_everywhere"] == ["B"]


def test_score__a_class_that_is_only_predicted_scores_zero():
    counts = np.zeros((3, 3), dtype=int)
    counts[1, 1], counts[1, 2] = 4, 2
    scores = score(counts, CLASSES, "A")
    assert scores.iou == {"Tumor": 4 / 6, "Stroma": 0.0}
    assert scores.classes[1].recall is None
    counts = np.zeros((3, 3), dtype=int)
    counts[1, 1], counts[0, 2] = 4, 2
    assert score(counts, CLASSES, "A").absent == ["Stroma"]
    assert score(counts, CLASSES, "B").iou == {"Tumor": 1.0, "Stroma": 0.0}


def test_score__nothing_at_all_is_null_in_json_and_not_nan():
    scores = score(np.zeros((3, 3), dtype=int), CLASSES, "A")
    assert math.isnan(scores.miou)
    summary = scores.to_json()
    assert summary["miou"] is summary["fwiou"] is summary["pixel_accuracy"] is None


def test_confusion__refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match=r"found the values \[0, 1, 2, 3\], expected 0 to 2 or 255"):
        confusion(np.array([[0, 1, 3]], np.uint8), np.array([[2, 1, 255]], np.uint8), 2)
    with pytest.raises(ValueError, match="found the values"):
        confusion(np.array([[0, 1]], np.uint8), np.array([[7, 1]], np.uint8), 2)
    with pytest.raises(ValueError, match="shape"):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


def test_confusion__a_prediction_left_open_is_background():
    counts = confusion(np.array([[1, 0, 255]], np.uint8), np.array([[255, 255, 255]], np.uint8), 2)
    assert counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


pairs = st.tuples(st.integers(1, 9), st.integers(1, 7)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 255])),
        hnp.arrays(np.uint8, shape, elements=st.integers(0, 3)),
    )
)


@given(pairs)
def test_confusion__agrees_with_a_plain_loop(pair):
    truth, prediction = pair
    expected = np.zeros((4, 4), dtype=int)
    for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
        if t != 255:
            expected[t, p] += 1
    np.testing.assert_array_equal(confusion(truth, prediction, 3), expected)


@given(pairs)
def test_evaluate_maps__laws(pair):
    truth, prediction = pair
    a, b = (evaluate_maps(prediction, truth, ("A", "B", "C"), protocol=p) for p in ("A", "B"))
    for name, iou in a.iou.items():
        assert 0 <= b.iou[name] <= iou <= 1  # what B adds are false positives
    for c in a.classes:
        if c.iou is not None:
            assert c.dice == pytest.approx(2 * c.iou / (1 + c.iou))
    perfect = evaluate_maps(np.where(truth == 255, 0, truth).astype(np.uint8), truth, ("A", "B", "C"), protocol="B")
    assert all(iou == 1 for iou in perfect.iou.values())
