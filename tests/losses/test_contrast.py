"""The supervised contrast, by hand."""

import math

import pytest
import torch

from wsi_lpd.losses.contrast import supervised_contrast

# Unit directions at 0, 60 and 180 degrees; cosines 0.5, -1 and -0.5. Their lengths must not matter.
POINTS = torch.tensor([[2.0, 0.0], [0.25, 0.25 * math.sqrt(3)], [-3.0, 0.0]])


def test_two_of_one_class_and_one_of_another__is_what_the_hand_says():
    loss = supervised_contrast(POINTS, torch.tensor([7, 7, 1]), temperature=0.5)
    first = -(1.0 - math.log(math.exp(1.0) + math.exp(-2.0)))
    second = -(1.0 - math.log(math.exp(1.0) + math.exp(-1.0)))
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-5)  # the third has no other of its class


def test_several_positives__are_averaged_outside_the_logarithm():
    points = torch.cat([POINTS, torch.tensor([[0.0, 1.5]])])  # at 90 degrees
    loss = supervised_contrast(points, torch.tensor([0, 0, 0, 5]), temperature=1.0)
    degrees = [0, 60, 180, 90]
    total = 0.0
    for i in range(3):
        cosine = [math.cos(math.radians(degrees[i] - degrees[j])) for j in range(4)]
        rest = math.log(sum(math.exp(c) for j, c in enumerate(cosine) if j != i))
        total -= sum(cosine[j] - rest for j in range(3) if j != i) / 2
    assert float(loss) == pytest.approx(total / 3, rel=1e-5)


def test_nothing_to_compare__is_zero_with_a_graph():
    for points in (POINTS, POINTS[:0]):
        leaf = points.clone().requires_grad_()
        loss = supervised_contrast(leaf, torch.arange(len(points)), temperature=0.1)
        loss.backward()
        assert float(loss.detach()) == 0
        assert leaf.grad.isfinite().all()


def test_its_gradient__brings_a_class_together():
    points = torch.randn(9, 5, generator=torch.Generator().manual_seed(2)).requires_grad_()
    classes = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2])
    optimizer = torch.optim.SGD([points], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        supervised_contrast(points, classes, temperature=0.5).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(points.detach(), dim=1)
    same = (classes[:, None] == classes) & ~torch.eye(9, dtype=torch.bool)
    cosines = unit @ unit.T
    assert cosines[same].min() > cosines[classes[:, None] != classes].max()
