"""Prototypes moved by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from wsi_lpd.methods.spread import _fit, class_features, revive_prototypes, spread_prototypes
from wsi_lpd.models.heads.prototypes import Prototypes

FINE = F.normalize(torch.randn(3, 6, generator=torch.Generator().manual_seed(9)), dim=1)
DIRECTIONS = F.normalize(torch.randn(3, 9, generator=torch.Generator().manual_seed(8)), dim=1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    prototypes = Prototypes(n_classes=2, per_class=3, dim=64, channels=(6, 9), initial_scale=10.0)
    return SimpleNamespace(prototypes=prototypes)


def seen(*, width=20):
    """Class 0 holds three tissues side by side, class 1 a few positions; the last rows belong to nobody."""
    generator = torch.Generator().manual_seed(1)
    coarse = 0.05 * torch.randn(2, 9, 8, width, generator=generator)
    fine = 0.05 * torch.randn(2, 6, 16, 2 * width, generator=generator)
    for i, (left, right) in enumerate(((0, 5), (5, 9), (9, 16))):
        coarse[:, :, :6, left:right] += DIRECTIONS[i][:, None, None]
        fine[:, :, :12, 2 * left : 2 * right] += FINE[i][:, None, None]
    mask = torch.zeros(2, 2, 16, 2 * width, dtype=torch.bool)
    mask[:, 0, :12, :32] = True
    mask[:, 1, :4, 34:38] = True
    return SimpleNamespace(features=[fine, coarse]), mask


def test_class_features__are_those_of_the_masked_positions():
    output, mask = seen()
    found = class_features(output, mask)
    assert [tuple(points.shape) for points in found[0]] == [(2 * 6 * 16, 6), (2 * 6 * 16, 9)]
    assert [len(points) for points in found[1]] == [2 * 2 * 2] * 2
    assert all(points.norm(dim=1).allclose(torch.ones(len(points)), atol=1e-5) for points in found[0])


def test_spread__sends_one_prototype_to_each_tissue_of_a_class(network):
    before = network.prototypes.vectors.detach().clone()
    moved = spread_prototypes(network, *seen(), generator=torch.Generator().manual_seed(0))
    assert moved == [0]
    nearest = (DIRECTIONS @ network.prototypes.projected(1)[0].T).detach()
    assert sorted(nearest.argmax(dim=1).tolist()) == [0, 1, 2]
    assert nearest.amax(dim=1).min() > 0.9
    assert torch.equal(network.prototypes.vectors[1].detach(), before[1])


def test_spread__leaves_the_heads_alone_and_gives_no_gradient(network):
    heads = [p.detach().clone() for p in network.prototypes.heads.parameters()]
    spread_prototypes(network, *seen(), generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(heads, network.prototypes.heads.parameters(), strict=True))
    assert all(p.grad is None for p in network.prototypes.parameters())


def test_revive__moves_the_dead_prototype_to_what_the_others_miss(network):
    output, mask = seen()
    spread_prototypes(network, output, mask, generator=torch.Generator().manual_seed(0))
    k = int((network.prototypes.projected(1)[0] @ DIRECTIONS[1]).argmax())
    with torch.no_grad():  # the prototype of the second tissue is sent far away from all three
        away = -F.normalize(DIRECTIONS.sum(0), dim=0), -F.normalize(FINE.sum(0), dim=0)
    _fit(network, {(0, k): [away[1], away[0]]})
    moved = revive_prototypes(network, output, mask, least_usage=0.05, temperature=0.05)
    assert moved == [(0, k)]
    assert float(network.prototypes.projected(1)[0, k] @ DIRECTIONS[1]) > 0.8


def test_revive__leaves_prototypes_in_use_alone(network):
    output, mask = seen()
    spread_prototypes(network, output, mask, generator=torch.Generator().manual_seed(0))
    before = network.prototypes.vectors.detach().clone()
    assert revive_prototypes(network, output, mask, least_usage=0.05, temperature=0.05) == []
    assert torch.equal(network.prototypes.vectors.detach(), before)
