"""The decoder as a network of the house: what it says, its image logits, and what it may begin with."""

import sys

import pytest
import torch
from torch import nn

from wsi_lpd.config import load_config
from wsi_lpd.errors import ModelError
from wsi_lpd.models.heads.decoder import SegformerHead, share_logits
from wsi_lpd.models.saved.load import network_for


def decoder(*settings, n_classes=3):
    torch.manual_seed(0)
    network = network_for(load_config(None, ["method=decoder", "decoder.width=32", *settings]), n_classes=n_classes)
    for module in network.modules():  # timm begins with blocks that do nothing
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    return network.eval()


def test_the_head__brings_every_scale_to_the_finest_and_fuses_them():
    head = SegformerHead((4, 6), 5, width=8, dropout=0.0).eval()
    fine, coarse = torch.rand(2, 4, 12, 20), torch.rand(2, 6, 3, 5)
    found = head([fine, coarse])
    assert found.shape == (2, 5, 12, 20)
    # As published: enlarged, side by side, then fused by one layer.
    up = nn.functional.interpolate(coarse, size=(12, 20), mode="bilinear", align_corners=False)
    fuse = torch.cat([head.projections[0].weight, head.projections[1].weight], dim=1)
    expected = head.out(head.norm(nn.functional.conv2d(torch.cat([fine, up], dim=1), fuse)).relu())
    torch.testing.assert_close(found, expected)


def test_maps__have_the_background_first_and_mosaics_are_taken_apart():
    network = decoder()
    images = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        output, alone = network(images, mosaic=2), network(images[:1])
    maps = network.map_logits(output, torch.ones(4, 3))
    assert maps.shape == (4, 4, 16, 16)
    torch.testing.assert_close(maps[:, :1], output.background)
    assert not torch.allclose(maps[:1], network.map_logits(alone, torch.ones(1, 3)))


def test_image_logits__tell_what_share_a_class_covers():
    logits = torch.full((1, 3, 20, 40), -30.0)
    logits[0, 1] = 30.0
    logits[0, :, :1, :] = torch.tensor([-30.0, -30.0, 30.0])[:, None, None]  # class 2 covers 1/20 of it
    whole = share_logits(logits, 1)[0, :, 0, 0]
    assert whole[1].abs() < 1e-4
    assert whole[0] > 5
    parts = share_logits(logits, 2)
    assert parts.shape == (1, 2, 2, 2)
    assert (parts[0, 1, 0] > 0).all()
    assert (parts[0, 1, 1] < -5).all()
    assert torch.isfinite(parts).all()


def test_a_decoder__wants_no_gate_and_other_networks_do():
    assert not decoder().wants_gate
    assert network_for(load_config(None, []), n_classes=2).wants_gate


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["model.scales=[2, 3]", "model.fusion_weights=[1, 1]", "loss.scale_weights=[1, 1]"], "3 scales or more"),
        (["decoder.width=40"], "multiples of 32"),
    ],
)
def test_what_mask2former_cannot_do__is_told(settings, told):
    with pytest.raises(ModelError, match=told):
        decoder("decoder.head=mask2former", *settings)


def test_mask2former_without_its_package__is_told(monkeypatch):
    for name in ("transformers", "transformers.models.mask2former.modeling_mask2former"):
        monkeypatch.setitem(sys.modules, name, None)  # the second may have been imported by another test
    with pytest.raises(ModelError, match=r"decoder\.head.*pip install 'wsi-lpd\[mask2former\]'"):
        decoder("decoder.head=mask2former")
