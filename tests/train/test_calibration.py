"""Calibration finds the temperature and offset that made the labels."""

import pytest
import torch

from wsi_lpd.train.calibration import fit_calibration


def test_calibration__recovers_how_the_labels_were_drawn():
    torch.manual_seed(0)
    logits = torch.randn(6000, 2) * 3
    temperature, offset = torch.tensor([2.0, 0.5]), torch.tensor([1.0, -0.7])
    labels = (torch.rand(6000, 2) < torch.sigmoid((logits - offset) / temperature)).long()
    labels[:500, 0] = -1
    found_temperature, found_offset = fit_calibration(logits, labels)
    assert found_temperature == pytest.approx(temperature.tolist(), rel=0.15)
    assert found_offset == pytest.approx(offset.tolist(), abs=0.2)


def test_calibration__of_one_sided_or_missing_labels_stays_finite_and_positive():
    logits = torch.randn(50, 3)
    labels = torch.stack([torch.ones(50), torch.zeros(50), torch.full((50,), -1)], dim=1).long()
    temperature, offset = fit_calibration(logits, labels)
    assert all(0 < t < 100 for t in temperature)
    assert all(abs(o) < 100 for o in offset)
    assert temperature[2] == pytest.approx(1)
    assert offset[2] == pytest.approx(0)
