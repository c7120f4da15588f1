"""What stands between an encoder and the prototypes, and what stays as it is where the encoder is frozen."""

from __future__ import annotations

import pytest
import torch
from hub_folders import hub_folder
from torch.nn import functional as F

from wsi_lpd.config import load_config
from wsi_lpd.models.heads.adapter import Adapter
from wsi_lpd.models.network import build_network

SETTINGS = ("model.prototypes_per_class=2", "model.prototype_dim=16")


def network_of(folder, *settings):
    config = load_config(None, [*SETTINGS, f"model.encoder={folder}", *settings])
    torch.manual_seed(4)
    return build_network(config.model, n_classes=3)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return hub_folder(tmp_path_factory.mktemp("nets") / "vit", "vit")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return hub_folder(tmp_path_factory.mktemp("nets") / "resnet", "resnet")


def test_an_adapter__begins_as_no_change_and_then_learns():
    adapter = Adapter((20, 300), refines=False)
    maps = [torch.randn(2, 20, 7, 5), torch.randn(2, 300, 4, 3)]
    before = adapter(maps)
    assert all(torch.equal(a, b) for a, b in zip(before, maps, strict=True))
    optimizer = torch.optim.SGD(adapter.parameters(), lr=0.5)
    for _ in range(2):  # the layer that begins at zero moves first, the others behind it
        sum((m - 1).square().mean() for m in adapter(maps)).backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in adapter.parameters())
    after = adapter(maps)
    assert all(not torch.equal(a, b) for a, b in zip(after, maps, strict=True))
    assert sum(p.numel() for p in adapter.blocks[1].parameters()) <= 2 * 128 * 300 + 128 * 9 + 2 * 128 + 3 * 300


def test_a_refining_adapter__doubles_the_first_map():
    adapter = Adapter((20, 20), refines=True)
    fine, coarse = (torch.randn(2, 20, 7, 5) for _ in range(2))
    first, second = adapter([fine, coarse])
    torch.testing.assert_close(first, F.interpolate(fine, size=(14, 10), mode="bilinear"))
    assert torch.equal(second, coarse)


def test_an_adapter__sees_a_part_of_a_picture_as_it_sees_the_whole():
    # Windows are larger than patches: nothing in it may depend on the size of the map.
    adapter = Adapter((20,), refines=False)
    with torch.no_grad():
        adapter.blocks[0].change[-1].weight.normal_()
    whole = torch.randn(1, 20, 12, 9)
    (of_whole,), (of_part,) = adapter([whole]), adapter([whole[..., :6, :]])
    torch.testing.assert_close(of_part[..., :5, :], of_whole[..., :5, :])


@pytest.mark.parametrize(
    ("kind", "settings", "has"),
    [
        ("vit", (), True),
        ("vit", ("model.adapter=false",), False),
        ("resnet", (), False),
        ("resnet", ("model.frozen=true",), True),
        ("resnet", ("model.frozen=true", "model.adapter=false"), False),
        ("resnet", ("model.adapter=true",), True),
    ],
)
def test_a_network__has_an_adapter_where_it_is_asked_for_or_needed(request, kind, settings, has):
    network = network_of(request.getfixturevalue(kind), *settings)
    assert (network.adapter is not None) == has
    size = network.eval()(torch.rand(1, 3, 64, 64)).fused_maps.shape[-1]
    assert size == (64 // network.encoder.reductions[0]) * (2 if kind == "vit" and has else 1)


def test_a_frozen_encoder__stays_what_it_was_in_training(resnet):
    network = network_of(resnet, "model.frozen=true").train()
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    images = torch.rand(4, 3, 64, 64)
    output = network(images)
    torch.stack([logits.square().mean() for logits in output.class_logits]).sum().backward()
    assert not network.encoder.training
    assert network.adapter.training
    assert all(torch.equal(before[name], value) for name, value in network.encoder.state_dict().items())
    assert all(p.grad is None for p in network.encoder.parameters())
    assert any(p.grad is not None for p in network.adapter.parameters())
    assert not any(name.startswith("encoder.") for name in network.learnt_state())
    assert any(name.startswith("encoder.") for name in network.state_dict())


def test_maps_of_a_frozen_encoder__have_the_digits_of_half_precision_and_are_taken_as_they_are(vit):
    network = network_of(vit, "model.frozen=true").eval()
    images = torch.rand(2, 3, 40, 40)
    maps = network.maps(images)
    exact = network.encoder((images - network.mean) / network.std)
    for found, wanted in zip(maps, exact, strict=True):
        assert torch.equal(found, found.half().float())
        assert not torch.equal(found, wanted)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    given = network(torch.zeros_like(images), maps=maps)
    assert torch.equal(given.fused_maps, network(images).fused_maps)


def test_maps_beyond_half_precision__are_cut_off_and_stay_finite(resnet):
    network = network_of(resnet, "model.frozen=true").eval()
    with torch.no_grad():
        next(network.encoder.body.layer1.parameters()).mul_(1e9)
    assert all(torch.isfinite(m).all() for m in network.maps(torch.rand(1, 3, 64, 64)))


def test_a_plain_transformer__is_read_at_three_depths_through_its_last_norm(vit):
    network = network_of(vit)
    encoder = network.encoder.eval()
    assert (encoder.is_plain, encoder.scales, encoder.reductions) == (True, (1, 2, 3), (8, 8, 8))
    deep = build_network(load_config(None, [*SETTINGS, "model.encoder=vit_tiny_patch16_224"]).model, n_classes=2)
    assert deep.encoder.scales == (5, 8, 11)
    with torch.no_grad():
        before = encoder(torch.rand(1, 3, 32, 32))
        encoder.body.norm.bias.add_(5)
        after = encoder(torch.rand(1, 3, 32, 32))
    assert all((b.mean() - a.mean()) > 4 for a, b in zip(before, after, strict=True))
