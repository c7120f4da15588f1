"""The network behind pretraining: its collapse sign, and weights that fit every kind of encoder."""

import pytest
import torch
from safetensors.torch import save_file

from wsi_lpd.config import ModelConfig, PretrainConfig
from wsi_lpd.models.encoders.build import build_encoder
from wsi_lpd.pretraining.vicreg import build_loss, build_vicreg, feature_spread, timm_state


def test_the_spread__is_0_where_all_is_the_same_and_1_where_every_direction_is_as_likely():
    generator = torch.Generator().manual_seed(1)
    one = torch.randn(1, 64, generator=generator)
    scales = torch.rand(500, 1, generator=generator) + 0.1
    assert float(feature_spread(one * scales)) == pytest.approx(0, abs=1e-5)
    assert float(feature_spread(torch.randn(500, 64, generator=generator))) == pytest.approx(1, abs=0.01)


def test_the_loss__has_the_weights_of_the_configuration():
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 30, 7, generator=generator) * 0.3
    config = PretrainConfig(invariance=2, variance=3, covariance=5)
    invariance = (a - b).square().mean()
    variance = sum((1 - (z.var(dim=0) + 1e-4).sqrt()).clamp(min=0).mean() / 2 for z in (a, b))
    covariance = sum((torch.cov(z.T).square().sum() - torch.cov(z.T).diagonal().square().sum()) / 7 for z in (a, b))
    expected = 2 * invariance + 3 * variance + 5 * covariance
    torch.testing.assert_close(build_loss(config)(a, b), expected)


KINDS = {"regnety_002": (1, 3), "pvt_v2_b0": (3, 0), "mit_b0": (1, 2), "test_vit": (0, 1), "test_convnext": (1, 3)}


@pytest.mark.parametrize(("name", "scales"), KINDS.items(), ids=KINDS)
def test_weights__fit_every_kind_of_encoder(tmp_path, name, scales):
    torch.manual_seed(4)
    model = ModelConfig(encoder=name, scales=scales, fusion_weights=(0.5, 0.5))
    vicreg = build_vicreg(model, PretrainConfig(projector_dim=16)).eval()
    save_file(timm_state(vicreg.encoder), tmp_path / "model.safetensors")
    torch.manual_seed(5)
    ours = build_encoder(name, weights=str(tmp_path), scales=scales).eval()
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        maps = vicreg.encoder(images)
        for found, expected in zip(ours(images), maps, strict=True):
            torch.testing.assert_close(found, expected)
        normalised = (images - vicreg.mean) / vicreg.std
        deepest = vicreg.encoder(normalised)[scales.index(max(scales))]
        torch.testing.assert_close(vicreg(images).features, deepest.mean(dim=(2, 3)))
        assert vicreg(images).projected.shape == (2, 16)


def test_weights__do_not_depend_on_what_was_drawn_before():
    torch.manual_seed(4)
    encoder = build_encoder("test_vit", scales=(1,))
    states = []
    for seed in (7, 8):
        torch.manual_seed(seed)
        states.append(timm_state(encoder))
        assert torch.initial_seed() == seed
    assert states[0].keys() >= set(encoder.body.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
