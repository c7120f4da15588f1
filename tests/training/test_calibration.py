"""Calibration finds the temperature and offset that made the labels."""

import pytest
import torch

from wsi_lpd.evaluation.calibration_error import expected_calibration_error
from wsi_lpd.training.calibration import fit_background, fit_calibration


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


def drawn(count, *, temperature, offset, seed):
    """Image logits, and labels that occur as often as `sigmoid((y - offset) / temperature)` says, (count, 2) each."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, 2, generator=generator) - torch.tensor([0.5, 2.0])
    chance = torch.sigmoid((logits - torch.tensor(offset)) / torch.tensor(temperature))
    return logits, (torch.rand(count, 2, generator=generator) < chance).long()


def error_after(calibration, logits, labels):
    temperature, offset = map(torch.tensor, calibration)
    return expected_calibration_error(torch.sigmoid((logits - offset) / temperature).numpy(), labels.numpy())


def test_calibrated_probabilities__come_true_on_patches_that_were_not_fitted():
    made = {"temperature": (2.5, 1.6), "offset": (1.5, -0.8)}
    unseen = drawn(4000, **made, seed=1)
    assert error_after(((1.0, 1.0), (0.0, 0.0)), *unseen) > 0.1
    assert error_after(fit_calibration(*drawn(400, **made, seed=0)), *unseen) < 0.03


def test_calibration__of_a_few_patches_does_not_spoil_what_was_right():
    made = {"temperature": (1.0, 1.0), "offset": (0.0, 0.0)}
    unseen = drawn(4000, **made, seed=1)
    errors = [error_after(fit_calibration(*drawn(12, **made, seed=seed)), *unseen) for seed in range(2, 32)]
    assert sum(errors) / len(errors) < 0.04


def test_the_prior__counts_as_a_number_of_labels_and_not_as_a_share_of_them():
    logits, labels = drawn(60, temperature=(2.0, 3.0), offset=(2.0, -2.0), seed=0)
    few, many = (torch.tensor(fit_calibration(logits.repeat(n, 1), labels.repeat(n, 1))) for n in (1, 50))
    assert (few[0].log() < 0.95 * many[0].log()).all(), "few labels stay nearer to temperature 1"
    assert (few[1].abs() < 0.95 * many[1].abs()).all(), "and to offset 0"


def test_background__lies_where_tissue_and_glass_are_mistaken_equally_often():
    generator = torch.Generator().manual_seed(3)
    tissue = 4 + 2 * torch.randn((700, 9), generator=generator)
    glass = -7 + 3 * torch.randn(900, generator=generator)
    moved = fit_background(tissue, glass)
    # Two bell curves are equally wrong where each is as many of its deviations away: (4 - t) / 2 = (t + 7) / 3.
    assert moved == pytest.approx(-0.4, abs=0.3)
    lost, painted = float((tissue < moved).float().mean()), float((glass > moved).float().mean())
    assert lost == pytest.approx(painted, abs=0.003)
    assert 0.005 < lost < 0.03


def test_background__between_two_that_do_not_touch_is_half_way():
    tissue, glass = torch.linspace(1, 9, 300), torch.linspace(-8, -4, 200)
    assert fit_background(tissue, glass) == pytest.approx((1 - 4) / 2)


@pytest.mark.parametrize(("n_tissue", "n_glass"), [(0, 500), (500, 0), (99, 500), (500, 99)])
def test_background__stays_where_there_is_too_little_to_tell(n_tissue, n_glass):
    assert fit_background(torch.randn(n_tissue), torch.randn(n_glass)) == 0
