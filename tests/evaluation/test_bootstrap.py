from __future__ import annotations

import numpy as np
import pytest

from wsi_lpd.evaluation.bootstrap import resampled_intervals
from wsi_lpd.evaluation.evaluation import evaluate_maps
from wsi_lpd.evaluation.report import ImageCounts, Report, tally

CLASSES = ("Tumor", "Stroma", "Necrosis")


def report(n_images=9, n_groups=4, *, seed=3, missing=()):
    rng = np.random.default_rng(seed)
    images = []
    for i in range(n_images):
        truth = rng.integers(0, 4, (4 + i, 7)).astype(np.uint8)
        truth[np.isin(truth, missing)] = 1
        noise = rng.integers(0, 4, truth.shape).astype(np.uint8)
        noise[np.isin(noise, missing)] = 0
        prediction = np.where(rng.random(truth.shape) < 0.1 + 0.08 * i, noise, truth).astype(np.uint8)
        images.append(ImageCounts(f"i{i}", f"g{i % n_groups}", tally(truth, prediction, 3)))
    return Report(CLASSES, tuple(images), "", ())


@pytest.mark.parametrize("protocol", ["A", "B"])
def test_intervals__agree_with_a_plain_loop(protocol):
    ours = report()
    groups = list(dict.fromkeys(image.group for image in ours.images))
    drawn = np.random.default_rng(11).multinomial(4, [1 / 4] * 4, size=60)
    miou, dice, boundary, tumor = [], [], [], []
    for weights in drawn:
        times = dict(zip(groups, weights, strict=True))
        chosen = [image for image in ours.images for _ in range(times[image.group])]
        scores = Report(CLASSES, tuple(chosen), "", ()).scores(protocol)
        miou.append(scores.miou)
        dice.append(scores.mdice)
        boundary.append(scores.boundary.miou)
        tumor.append(scores.iou["Tumor"])
    intervals = ours.intervals(protocol, draws=60, seed=11)
    for interval, values in (
        (intervals.miou, miou),
        (intervals.mdice, dice),
        (intervals.boundary_miou, boundary),
        (intervals.iou["Tumor"], tumor),
    ):
        assert interval == pytest.approx(np.percentile(values, [2.5, 97.5]))
    assert intervals.n_groups == 4


def test_intervals__hold_the_score_and_shrink_with_more_groups():
    few, many = (report(24, n, seed=5) for n in (3, 24))
    widths = []
    for each in (few, many):
        interval = each.intervals("B", draws=4000).miou
        assert interval.low < each.scores("B").miou < interval.high
        widths.append(interval.high - interval.low)
    assert many.intervals("B") == many.intervals("B"), "seeded"
    assert many.intervals("B", seed=1) != many.intervals("B", seed=2)
    assert widths[0] > 0


def test_one_group__has_no_interval():
    one = report(5, 1)
    assert one.intervals("A") is None
    assert one.to_json(("A",))["protocols"]["A"]["intervals"] is None


def test_a_class_that_occurs_nowhere__has_no_interval_and_is_in_no_mean():
    ours = report(missing=(2,))
    intervals = ours.intervals("A", draws=200)
    assert intervals.iou["Stroma"] is None
    assert intervals.iou["Tumor"] is not None
    assert not np.isnan(intervals.miou).any()
    assert ours.to_json(("A",), draws=200)["protocols"]["A"]["intervals"]["iou"]["Stroma"] is None


def test_images_of_a_group__are_drawn_together():
    counts = np.zeros((2, 2, 2), np.int64)
    counts[0] = [[0, 0], [0, 8]]
    counts[1] = [[0, 0], [8, 0]]
    nothing = np.zeros((2, 1), np.int64)
    apart = resampled_intervals(counts, nothing, nothing, ["a", "b"], ["Tumor"], draws=300)
    assert apart.miou == (0, 1)
    assert apart.boundary_miou is None
    doubled = resampled_intervals(
        np.concatenate([counts, counts[::-1]]), nothing.repeat(2, 0), nothing.repeat(2, 0), list("aabb"), ["T"]
    )
    assert doubled.miou == (0.5, 0.5), "both groups are alike, whatever their images"


def test_scores_of_one_image__are_those_of_its_maps():
    truth = np.random.default_rng(1).integers(0, 4, (6, 9)).astype(np.uint8)
    prediction = np.random.default_rng(2).integers(0, 4, (6, 9)).astype(np.uint8)
    single = Report(CLASSES, (ImageCounts("a", "a", tally(truth, prediction, 3)),), "", ())
    assert single.scores("A").miou == evaluate_maps(prediction, truth, CLASSES).miou
