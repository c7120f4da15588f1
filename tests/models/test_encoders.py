from __future__ import annotations

import math
import socket

import pytest
import torch
from torch.nn import functional as F

from wsi_lpd.errors import ModelError
from wsi_lpd.models.encoders.build import build_encoder

# name, stages, reductions at last_stride 16: one of each kind that timm holds
FAMILIES = [
    ("pvt_v2_b0", (0, 1, 2, 3), (4, 8, 16, 16)),
    ("mit_b0", (0, 1, 2, 3), (4, 8, 16, 16)),
    ("resnet18", (0, 1, 2, 3, 4), (2, 4, 8, 16, 16)),
    ("convnext_atto", (0, 1, 2, 3), (4, 8, 16, 16)),
    ("swin_tiny_patch4_window7_224", (0, 1, 2, 3), (4, 8, 16, 32)),
    ("vit_tiny_patch16_224", (2, 5), (16, 16)),
]


@pytest.mark.parametrize(("name", "scales", "reductions"), FAMILIES)
def test_encoder__maps_have_the_stated_channels_and_reductions(name, scales, reductions):
    encoder = build_encoder(name, scales=scales).eval()
    assert encoder.reductions == reductions
    with torch.no_grad():
        maps = encoder(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, 64 // r, 96 // r) for channels, r in zip(encoder.channels, reductions, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "width"),
    [("pvt_v2_b0", 96), ("resnet18", 80), ("swin_tiny_patch4_window7_224", 96), ("vit_tiny_patch16_224", 80)],
)
def test_encoder__any_size_equals_the_image_padded_by_hand(name, width):
    encoder = build_encoder(name, scales=(1, 3)).eval()
    images = torch.rand(1, 3, 52, 75)
    with torch.no_grad():
        maps = encoder(images)
        padded = encoder(F.pad(images, (0, width - 75, 0, 64 - 52), mode="replicate"))
    for found, whole, r in zip(maps, padded, encoder.reductions, strict=True):
        assert found.shape[-2:] == (math.ceil(52 / r), math.ceil(75 / r))
        torch.testing.assert_close(found, whole[..., : found.shape[-2], : found.shape[-1]])


def test_encoder__scales_come_in_the_order_asked_for():
    torch.manual_seed(1)
    forward = build_encoder("pvt_v2_b0", scales=(0, 2)).eval()
    torch.manual_seed(1)
    backward = build_encoder("pvt_v2_b0", scales=(2, 0)).eval()
    images = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        fine, coarse = forward(images)
        coarse_first, fine_last = backward(images)
    assert (forward.channels, backward.channels) == ((32, 160), (160, 32))
    assert torch.equal(fine, fine_last)
    assert torch.equal(coarse, coarse_first)


@pytest.mark.parametrize("name", ["pvt_v2_b0", "mit_b0", "resnet18"])
def test_last_stride__takes_the_same_weights_and_changes_the_last_stage_only(name):
    scales = (1, 2, 3) if name != "resnet18" else (1, 3, 4)
    wide = build_encoder(name, last_stride=32, scales=scales).eval()
    fine = build_encoder(name, last_stride=16, scales=scales).eval()
    fine.load_state_dict(wide.state_dict())
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        by_32, by_16 = wide(images), fine(images)
    assert (wide.reductions[-1], fine.reductions[-1]) == (32, 16)
    for a, b in zip(by_32[:-1], by_16[:-1], strict=True):
        torch.testing.assert_close(a, b)
    assert by_16[-1].shape[-2:] == (4, 6)
    # Every second token of the finer map starts from the pixels of a token of the coarser one.
    assert F.cosine_similarity(by_16[-1][..., ::2, ::2], by_32[-1], dim=1).mean() > 0.5


@pytest.mark.parametrize(
    ("name", "last_stride", "reductions"),
    [
        ("pvt_v2_b0", 8, (4, 8, 8, 8)),
        ("mit_b1", 8, (4, 8, 8, 8)),
        ("mit_b1", 16, (4, 8, 16, 16)),
        ("resnet18", 8, (4, 8, 8, 8)),
        ("regnety_002", 8, (4, 8, 8, 8)),
    ],
)
def test_last_stride__takes_the_down_sampling_of_all_coarser_stages_away(name, last_stride, reductions):
    scales = (0, 1, 2, 3) if name in ("pvt_v2_b0", "mit_b1") else (1, 2, 3, 4)
    encoder = build_encoder(name, last_stride=last_stride, scales=scales)
    assert encoder.reductions == reductions
    sizes = [tuple(m.shape[-2:]) for m in encoder(torch.rand(1, 3, 64, 96))]
    assert sizes == [(64 // r, 96 // r) for r in reductions]


@pytest.mark.parametrize("name", ["pvt_v2_b0", "resnet18", "convnext_atto"])
def test_encoder__no_parameter_is_left_without_a_gradient(name):
    # Parts behind the last stage asked for would be dead weight, and stop data-parallel training.
    encoder = build_encoder(name, scales=(0, 2))
    sum(m.square().mean() for m in encoder(torch.rand(2, 3, 64, 32))).backward()
    assert [key for key, p in encoder.named_parameters() if p.grad is None] == []


def test_encoder__of_random_weights_follows_the_seed_and_needs_no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(build_encoder("mit_b0", scales=(1,)).state_dict()["body.patch_embed.proj.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_encoder__states_statistics_and_origin():
    encoder = build_encoder("pvt_v2_b0", scales=(1,))
    assert encoder.mean == (0.485, 0.456, 0.406)
    assert encoder.std == (0.229, 0.224, 0.225)
    assert encoder.weights == "random"
    assert encoder.licence is None
    assert build_encoder("vit_tiny_patch16_224", scales=(1,)).mean == (0.5, 0.5, 0.5)


def test_build_encoder__an_unknown_name_suggests_close_ones():
    with pytest.raises(ModelError, match=r"no model 'mit-b1'.*mit_b1"):
        build_encoder("mit-b1", scales=(1,))
    with pytest.raises(ModelError, match=r"no model 'uni2-H'; did you mean hf-hub:MahmoodLab/UNI2-h"):
        build_encoder("uni2-H", scales=(1,))


@pytest.mark.parametrize("scales", [(1, 4), (-1,), ()])
def test_build_encoder__a_stage_that_does_not_exist_lists_those_that_do(scales):
    with pytest.raises(ModelError, match=r"0 \(1/4, 32 channels\).*3 \(1/32, 256 channels\)"):
        build_encoder("pvt_v2_b0", scales=scales)


def test_encoder__of_one_size_only_says_so():
    encoder = build_encoder("maxvit_rmlp_pico_rw_256", scales=(1,)).eval()
    with pytest.raises(ModelError, match=r"256x256 pixels only, got 96x64.*--patch-size 256"):
        encoder(torch.rand(1, 3, 64, 96))
    with torch.no_grad():
        assert encoder(torch.rand(1, 3, 256, 256))[0].shape[-1] == 256 // encoder.reductions[0]
