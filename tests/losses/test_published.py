"""The published terms and their defects: each is shown, not told."""

import pytest
import torch

from wsi_lpd.losses.published import published_diversity, published_refiner, select_maps

MENDED = {"double_softmax": False, "no_temperature": False, "class_offset": False}
PUBLISHED = {"double_softmax": True, "no_temperature": True, "class_offset": True}


def striped(*, height=12, width=14):
    """Cosines of three prototypes per class that fire on different stripes of one region, (1, 2, 3, h, w)."""
    similarity = torch.full((1, 2, 3, height, width), -0.2)
    for k in range(3):
        similarity[:, :, k, :, k::3] = 0.9
    return similarity


def everywhere(value, similarity):
    return torch.full((1, *similarity.shape[-2:]), value)


def test_published_diversity__cannot_tell_disjoint_prototypes_from_equal_ones():
    apart, alike = striped(), striped()[:, :, :1].expand(1, 2, 3, 12, 14)
    regions = everywhere(1, apart)
    dead = [float(published_diversity(a, regions, **PUBLISHED | {"class_offset": False})) for a in (apart, alike)]
    live = [float(published_diversity(a, regions, **MENDED)) for a in (apart, alike)]
    assert dead[0] == pytest.approx(dead[1], abs=1e-3)
    assert live[1] == pytest.approx(1, abs=1e-5)
    assert live[0] < 1e-3


@pytest.mark.parametrize(("switch", "factor"), [("double_softmax", 1e-3), ("no_temperature", 0.5)])
def test_each_softmax_defect__takes_the_gradient_away(switch, factor):
    def gradient(**switches):
        similarity = (0.05 * torch.randn(2, 2, 3, 10, 9, generator=torch.Generator().manual_seed(5))).requires_grad_()
        published_diversity(similarity, torch.ones(2, 10, 9, dtype=torch.long), **switches).backward()
        return float(similarity.grad.norm())

    assert gradient(**MENDED | {switch: True}) < factor * gradient(**MENDED)


def test_class_offset__looks_for_the_first_class_in_the_background():
    similarity = striped().requires_grad_()
    published_diversity(similarity, everywhere(0, similarity), **MENDED | {"class_offset": True}).backward()
    assert similarity.grad[:, 0].abs().sum() > 0
    similarity.grad = None
    published_diversity(similarity, everywhere(0, similarity), **MENDED).backward()
    assert similarity.grad.abs().sum() == 0
    published_diversity(similarity, everywhere(2, similarity), **MENDED).backward()
    assert similarity.grad[:, 1].abs().sum() > 0
    assert similarity.grad[:, 0].abs().sum() == 0


def two_classes():
    """A strong map of class 0 and one of class 1 that peaks at 3/8 of it; the second prototypes are silent."""
    activation = torch.full((1, 2, 2, 4, 6), -3.0)
    activation[0, 0, 0, 1:3, 1:4] = 8
    activation[0, 1, 0, 2:, 4:] = 3
    return activation


def test_image_threshold__empties_the_map_of_the_weaker_class():
    labels = torch.tensor([[1, 1]])
    shared = select_maps(two_classes(), labels, (16, 24), image_threshold=True, raw_crops=True)
    own = select_maps(two_classes(), labels, (16, 24), image_threshold=False, raw_crops=True)
    assert shared.prototype.tolist() == own.prototype.tolist() == [0, 2]
    assert shared.inside.mean(dim=(1, 2))[0] > 0
    assert shared.inside.mean(dim=(1, 2))[1] == 0
    assert own.inside.mean(dim=(1, 2))[1] > 0


def test_selection__leaves_out_what_the_label_does_not_name():
    chosen = select_maps(two_classes(), torch.tensor([[0, 1]]), (8, 12), image_threshold=True, raw_crops=False)
    assert chosen.prototype.tolist() == [2]
    assert 0 <= float(chosen.maps.min()) <= float(chosen.maps.max()) <= 1


def test_refiner__counts_siblings_as_negatives_only_when_told():
    generator = torch.Generator().manual_seed(2)
    prototypes = torch.randn(2, 2, 5, generator=generator)
    chosen = select_maps(two_classes(), torch.tensor([[1, 0]]), (8, 12), image_threshold=True, raw_crops=False)
    front, rest = torch.randn(2, len(chosen.image), 5, generator=generator)

    def loss(vectors, *, siblings):
        labels = torch.tensor([[1, 0]])
        return float(published_refiner(front, rest, vectors, chosen, labels, siblings=siblings))

    moved = prototypes.clone()
    moved[0, 1] = front[0]  # the sibling of the chosen prototype now looks just like what is covered
    assert loss(moved, siblings=True) > loss(prototypes, siblings=True) + 0.1
    assert loss(moved, siblings=False) == pytest.approx(loss(prototypes, siblings=False), abs=1e-5)
