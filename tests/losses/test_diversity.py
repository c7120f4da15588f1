"""Laws of the diversity term, and the collapse it has to undo (methods: one softmax, same space, masked)."""

import math

import pytest
import torch
from torch.nn import functional as F

from wsi_lpd.losses.diversity import diversity_loss, usage_loss


def double_loop(similarity, class_mask, temperature):
    """The definition, one cell and one pair at a time."""
    overlaps = []
    batch, n_classes, n_prototypes, _ = similarity.shape
    for b in range(batch):
        for c in range(n_classes):
            chosen = class_mask[b, c]
            if chosen.sum() < 8:
                continue
            v = [F.softmax(similarity[b, c, k][chosen] / temperature, dim=0) for k in range(n_prototypes)]
            pairs = [
                math.exp(-0.5 * float((v[i] * (v[i] / v[j]).log()).sum() + (v[j] * (v[j] / v[i]).log()).sum()))
                for i in range(n_prototypes)
                for j in range(i + 1, n_prototypes)
            ]
            overlaps.append(sum(pairs) / len(pairs))
    return sum(overlaps) / len(overlaps)


def test_diversity__equals_a_double_loop():
    torch.manual_seed(3)
    similarity = torch.rand(3, 4, 5, 37) * 2 - 1
    mask = torch.rand(3, 4, 37) > 0.6
    mask[1, 2] = False
    mask[2, 0] = torch.arange(37) < 5  # too few positions: left out
    expected = double_loop(similarity.double(), mask, temperature=0.3)
    assert float(diversity_loss(similarity, mask, temperature=0.3)) == pytest.approx(expected, abs=1e-5)


def test_diversity__is_one_for_equal_prototypes():
    one = torch.rand(2, 3, 1, 40)
    assert float(diversity_loss(one.expand(-1, -1, 4, -1), torch.ones(2, 3, 40), temperature=0.1)) == pytest.approx(1)


def test_diversity__is_near_zero_for_disjoint_prototypes():
    similarity = torch.full((1, 2, 3, 30), -0.5)
    for k in range(3):
        similarity[:, :, k, 10 * k : 10 * k + 10] = 0.8
    assert float(diversity_loss(similarity, torch.ones(1, 2, 30), temperature=0.1)) < 0.05


def test_diversity__looks_only_inside_the_mask():
    torch.manual_seed(0)
    similarity = torch.rand(2, 3, 4, 50)
    mask = torch.rand(2, 3, 50) > 0.5
    changed = torch.where(mask[:, :, None], similarity, torch.rand_like(similarity) * 3)
    before = diversity_loss(similarity, mask, temperature=0.1)
    assert torch.equal(before, diversity_loss(changed, mask, temperature=0.1))


@pytest.mark.parametrize("loss", [diversity_loss, usage_loss])
def test_mask_terms__are_zero_with_a_graph_where_no_class_occurs(loss):
    similarity = torch.rand(2, 3, 4, 50, requires_grad=True)
    value = loss(similarity, torch.zeros(2, 3, 50), temperature=0.1)
    value.backward()
    assert float(value) == 0
    assert torch.equal(similarity.grad, torch.zeros_like(similarity))


@pytest.mark.parametrize("loss", [diversity_loss, usage_loss])
def test_mask_terms__one_prototype_has_nothing_to_diversify(loss):
    assert float(loss(torch.rand(2, 3, 1, 50), torch.ones(2, 3, 50), temperature=0.1)) == pytest.approx(0, abs=1e-6)


def test_diversity__gradients_are_finite_from_bfloat16():
    similarity = (torch.rand(2, 3, 4, 6, 7) * 2 - 1).bfloat16().requires_grad_()
    diversity_loss(similarity, torch.rand(2, 3, 6, 7) > 0.3, temperature=0.1).backward()
    assert torch.isfinite(similarity.grad).all()
    assert similarity.grad.abs().max() > 0


def test_usage__is_zero_when_shared_out_and_large_when_one_takes_all():
    shared = torch.full((1, 1, 3, 30), -0.9)
    for k in range(3):
        shared[:, :, k, 10 * k : 10 * k + 10] = 0.9
    hoarded = torch.full((1, 1, 3, 30), -0.9)
    hoarded[:, :, 0] = 0.9
    mask = torch.ones(1, 1, 30)
    assert float(usage_loss(shared, mask, temperature=0.1)) == pytest.approx(0, abs=1e-3)
    assert float(usage_loss(hoarded, mask, temperature=0.1)) > 2


def toy_correlation(weight):
    """Trains near-equal prototypes on classes made of three sub-patterns; mean correlation of their activations."""
    torch.manual_seed(1)
    n_classes, n_prototypes, dim, side = 3, 3, 32, 12
    patterns = F.normalize(torch.randn(n_classes, 3, dim), dim=-1)
    common = F.normalize(torch.randn(n_classes, 1, dim), dim=-1)
    pixel_class = torch.arange(side * side) * n_classes // (side * side)
    pixel_pattern = torch.arange(side * side) % 3
    features = (
        common[pixel_class, 0] + 0.7 * patterns[pixel_class, pixel_pattern] + 0.15 * torch.randn(8, side * side, dim)
    )
    features = F.normalize(features, dim=-1)
    mask = (pixel_class[None] == torch.arange(n_classes)[:, None])[None].expand(8, -1, -1)
    start = F.normalize(torch.randn(n_classes, 1, dim), dim=-1) + 0.01 * torch.randn(n_classes, n_prototypes, dim)
    prototypes = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([prototypes], lr=0.01)
    for _ in range(300):
        cosine = torch.einsum("bnd,ckd->bckn", features, F.normalize(prototypes, dim=-1))
        per_class = cosine.mean(2)
        loss = F.binary_cross_entropy_with_logits(14.28 * per_class, mask.float())
        loss = loss + weight * diversity_loss(cosine, mask, temperature=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cosine = torch.einsum("bnd,ckd->bckn", features, F.normalize(prototypes.detach(), dim=-1))
    values = []
    for c in range(n_classes):
        maps = cosine[:, c][:, :, pixel_class == c].transpose(0, 1).flatten(1)
        correlation = torch.corrcoef(maps)
        values.append(correlation[~torch.eye(n_prototypes, dtype=torch.bool)].mean())
    return float(torch.stack(values).mean())


def test_diversity__un_collapses_prototypes_that_start_almost_equal():
    assert toy_correlation(0.0) > 0.9, "the toy must collapse without the term, or it shows nothing"
    assert toy_correlation(0.5) < 0.3
