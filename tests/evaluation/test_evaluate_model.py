"""A model is scored on images it is told nothing about; the oracle's gate is only a ceiling."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wsi_lpd.config import SegmentConfig
from wsi_lpd.errors import LabelError
from wsi_lpd.evaluation.metrics import confusion
from wsi_lpd.evaluation.model import TrueImage, evaluate_model
from wsi_lpd.models.saved.card import CardClass
from wsi_lpd.prediction.stitch import WindowMaps

NAMES = ("Tumor", "Stroma")


class PixelPredictor:
    """Reads logits of background, class 1 and class 2 off the three channels; both classes are held for unlikely."""

    def __init__(self, presence=(0.9, 0.1)):
        classes = tuple(CardClass(name=n, color=(i, 0, 9)) for i, n in enumerate(NAMES))
        self.card = SimpleNamespace(patch_px=32, mpp=0.5, classes=classes)
        self.window_px, self.cell_px = 32, 16
        self.device = torch.device("cpu")
        self.presence = np.array(presence, np.float32)
        self.refinements = []

    def predict(self, windows, *, output_stride, views=1, refinement="none"):
        self.refinements.append(refinement)
        return [
            WindowMaps(
                (window.astype(np.float32).transpose(2, 0, 1) - 100) / 10,
                self.presence,
                np.zeros((2, *window.shape[:2]), np.uint8),
            )
            for window in windows
        ]


BACK, TUMOR, STROMA, UNSURE = (180, 90, 90), (80, 140, 90), (80, 90, 140), (80, 105, 110)
"""UNSURE is Stroma without a gate; where Stroma is held for unlikely it is Tumor."""


def image(rows, truth, name="i", group="g"):
    return TrueImage(name, group, np.array(rows, np.uint8), np.array(truth, np.uint8))


ROWS = [[TUMOR, TUMOR, UNSURE, UNSURE, BACK], [TUMOR, STROMA, STROMA, UNSURE, BACK]] * 2
TRUTH = [[1, 1, 2, 2, 1], [0, 2, 2, 255, 0], [1, 1, 2, 2, 0], [1, 2, 2, 2, 0]]


def labels(table):
    codes = {"t": TUMOR, "s": STROMA, "u": UNSURE, "b": BACK}
    return {codes[k]: v for k, v in table.items()}


def as_map(table):
    values = labels(table)
    return np.array([[values[cell] for cell in row] for row in ROWS], np.uint8)


@pytest.mark.parametrize(
    ("gate", "unsure", "unsure_c"), [("none", 2, 2), ("predicted", 1, 1), ("oracle", 2, 2)], ids=lambda v: str(v)
)
def test_counts__by_hand_under_every_gate(gate, unsure, unsure_c):
    reports = evaluate_model(PixelPredictor(), [image(ROWS, TRUTH)], gates=("none", "predicted", "oracle"))
    report = reports[gate]
    free = as_map({"t": 1, "s": 2, "u": unsure, "b": 0})
    np.testing.assert_array_equal(report.counts, confusion(np.array(TRUTH, np.uint8), free, 2))
    # Under C the glass goes to a class: both have the logit of 90, so the gate decides, and Tumor comes first.
    forced = as_map({"t": 1, "s": 2, "u": unsure_c, "b": 1})
    np.testing.assert_array_equal(report.total("C").counts, confusion(np.array(TRUTH, np.uint8), forced, 2))
    assert report.gate == gate
    assert report.to_json()["gate"]["name"] == gate
    assert report.to_json()["protocols"]["B"]["refinement"] == "none"


def test_the_oracle__is_read_off_the_truth_and_is_a_ceiling():
    rows = [[UNSURE, UNSURE, STROMA, TUMOR, TUMOR]] * 3
    only_tumor = image(rows, [[1] * 5] * 3)
    reports = evaluate_model(PixelPredictor((0.6, 0.4)), [only_tumor], gates=("oracle", "predicted", "none"))
    miou = {gate: report.scores("A").miou for gate, report in reports.items()}
    assert miou["oracle"] == 1
    assert miou["oracle"] > miou["predicted"] >= miou["none"]
    assert "ceiling" in reports["oracle"].to_json()["gate"]["meaning"]


def test_the_default_gate__is_the_predicted_one_and_reads_no_truth():
    with_truth = evaluate_model(PixelPredictor(), [image(ROWS, TRUTH)])
    other = np.where(np.array(TRUTH) == 255, 255, 2)
    another_truth = evaluate_model(PixelPredictor(), [image(ROWS, other)])
    assert set(with_truth) == {"predicted"}
    columns = [report["predicted"].counts.sum(axis=0).tolist() for report in (with_truth, another_truth)]
    assert columns[0] == columns[1], "the truth does not move the prediction"


def test_images__keep_their_names_groups_and_counts():
    images = [image(ROWS, TRUTH, f"i{k}", f"g{k // 2}") for k in range(4)]
    report = evaluate_model(PixelPredictor(), iter(images))["predicted"]
    assert [(i.name, i.group) for i in report.images] == [("i0", "g0"), ("i1", "g0"), ("i2", "g1"), ("i3", "g1")]
    assert report.n_groups == 2
    assert report.intervals("B", draws=50).miou == pytest.approx((report.scores("B").miou,) * 2)


def test_the_image_level__compares_presence_with_the_masks():
    images = [image(ROWS, TRUTH), image(ROWS, np.ones((4, 5)))]
    level = evaluate_model(PixelPredictor((0.9, 0.2)), images)["predicted"].image_level
    assert level.present == (2, 1)
    assert level.exact_match == 0.5
    assert level.f1 == (1.0, 0.0)
    assert level.ece_per_class == pytest.approx((0.1, 0.3), abs=1e-6)


def test_the_refinement__is_passed_on_and_named():
    predictor = PixelPredictor()
    config = SegmentConfig(refine="pamr")
    report = evaluate_model(predictor, [image(ROWS, TRUTH)], refinement="guided", config=config)["predicted"]
    assert predictor.refinements == ["guided"]
    assert report.refinement == "guided"


def test_what_does_not_fit__is_refused():
    with pytest.raises(LabelError, match="found no images"):
        evaluate_model(PixelPredictor(), [])
    with pytest.raises(LabelError, match="i: is 5 x 4 pixels, its truth 4 x 5"):
        evaluate_model(PixelPredictor(), [image(ROWS, np.array(TRUTH).T)])
    with pytest.raises(LabelError, match="found the true value 3, expected 0 to 2"):
        evaluate_model(PixelPredictor(), [image(ROWS, np.full((4, 5), 3))])
