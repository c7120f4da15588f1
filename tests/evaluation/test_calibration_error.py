from __future__ import annotations

import numpy as np
import pytest

from wsi_lpd.evaluation.calibration_error import expected_calibration_error, image_level_scores


def test_expected_calibration_error__by_hand():
    # Bins of 1/15: [0.60, 0.667) holds 0.61 and 0.65, [0.933, 1] holds 0.95 and 1.0, [0, 0.067) holds 0.0.
    p = np.array([0.61, 0.65, 0.95, 1.0, 0.0])
    y = np.array([1, 0, 1, 1, 1])
    assert expected_calibration_error(p, y) == pytest.approx((abs(1.26 - 1) + abs(1.95 - 2) + 1) / 5)
    assert expected_calibration_error(p, y, n_bins=1) == pytest.approx(abs(p.sum() - y.sum()) / 5)


def test_expected_calibration_error__agrees_with_a_plain_loop():
    rng = np.random.default_rng(4)
    p, y = rng.random((40, 3)), rng.integers(-1, 2, (40, 3))
    gaps, n = 0.0, (y >= 0).sum()
    for b in range(15):
        inside = (y >= 0) & (p >= b / 15) & (p < (b + 1) / 15)
        if inside.any():
            gaps += inside.sum() / n * abs(p[inside].mean() - (y[inside] == 1).mean())
    assert expected_calibration_error(p, y) == pytest.approx(gaps)


def test_expected_calibration_error__is_small_for_honest_probabilities_and_large_for_bold_ones():
    rng = np.random.default_rng(0)
    p = rng.random(20_000) * 0.6
    y = (rng.random(20_000) < p).astype(int)
    assert expected_calibration_error(p, y) < 0.02
    assert expected_calibration_error(np.where(p > 0.3, 1.0, 0.0), y) > 0.25


def test_expected_calibration_error__refuses_what_is_none():
    assert np.isnan(expected_calibration_error(np.array([0.3]), np.array([-1])))
    with pytest.raises(ValueError, match=r"from -0\.5 to 2, expected 0 to 1"):
        expected_calibration_error(np.array([-0.5, 2]), np.array([0, 1]))
    with pytest.raises(ValueError, match="expected 0 to 1"):
        expected_calibration_error(np.array([0.5, np.nan]), np.array([0, 1]))
    with pytest.raises(ValueError, match="shape"):
        expected_calibration_error(np.zeros((2, 3)), np.zeros((3, 2)))


def test_image_level_scores__by_hand():
    p = np.array([[0.9, 0.2, 0.4], [0.8, 0.7, 0.1], [0.8, 0.6, 0.2], [0.7, 0.1, 0.3]])
    y = np.array([[1, 0, 0], [1, 0, 0], [-1, 1, 0], [0, 0, 0]])
    scores = image_level_scores(p, y, ("Tumor", "Stroma", "Necrosis"))
    assert scores.exact_match == 2 / 4  # the second image has Stroma told, the fourth Tumor
    assert scores.f1[:2] == (2 * 2 / (3 + 2), 2 * 1 / (2 + 1))
    assert np.isnan(scores.f1[2])
    assert scores.present == (2, 1, 0)
    assert scores.ece_per_class[1] == expected_calibration_error(p[:, 1], y[:, 1])
    assert scores.ece == expected_calibration_error(p, y)
    summary = scores.to_json()
    assert summary["per_class"]["Necrosis"]["f1"] is None
    assert summary["mean_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
