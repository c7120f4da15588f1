"""Spherical k-means."""

import pytest
import torch
from torch.nn import functional as F

from wsi_lpd.methods.kmeans import spherical_kmeans


def bundles(sizes, *, spread=0.05, seed=3):
    """Points around as many orthogonal directions as there are sizes, of any length."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.eye(7)[: len(sizes)]
    points = torch.cat(
        [d + spread * torch.randn(n, 7, generator=generator) for d, n in zip(directions, sizes, strict=True)]
    )
    return points * (0.2 + 3 * torch.rand(len(points), 1, generator=generator)), directions


@pytest.mark.parametrize("seed", range(5))
def test_centres__are_the_directions_of_the_bundles(seed):
    points, directions = bundles([40, 9, 23])
    centres, nearest = spherical_kmeans(points, 3, generator=torch.Generator().manual_seed(seed))
    assert (directions @ centres.T).amax(dim=1).min() > 0.99
    assert centres.norm(dim=1).allclose(torch.ones(3))
    assert sorted(torch.bincount(nearest).tolist()) == [9, 23, 40]


def test_a_centre__is_the_mean_direction_of_its_points():
    points, _ = bundles([12, 30], spread=0.4)
    centres, nearest = spherical_kmeans(points, 2, generator=torch.Generator().manual_seed(0))
    for k in range(2):
        mean = F.normalize(F.normalize(points[nearest == k], dim=1).sum(0), dim=0)
        assert centres[k].allclose(mean, atol=1e-5)


def test_equal_points__still_give_every_centre_one():
    _, nearest = spherical_kmeans(torch.ones(6, 4), 3, generator=torch.Generator().manual_seed(1))
    assert torch.bincount(nearest, minlength=3).min() >= 1


def test_too_few_points__are_refused():
    with pytest.raises(ValueError, match="2 points for 3 centres"):
        spherical_kmeans(torch.rand(2, 5), 3, generator=torch.Generator())
