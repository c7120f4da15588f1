from __future__ import annotations

import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from wsi_lpd.errors import ModelError
from wsi_lpd.models.encoders import mit  # noqa: F401  registers the names
from wsi_lpd.models.encoders.build import build_encoder

B0_WIDTHS = (32, 64, 160, 256)


def randomised(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Every tensor random, so that no bias or norm is mistaken for another."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
            noise = torch.randn(parameter.shape, generator=generator) * spread
            parameter.copy_(1 + noise if "norm" in name and name.endswith("weight") else noise)
    return model.eval()


def hugging_face_mit_b0(last_stride: int, seed: int = 0) -> torch.nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        hidden_sizes=list(B0_WIDTHS),
        depths=[2, 2, 2, 2],
        num_attention_heads=[1, 2, 5, 8],
        strides=[4, 2, 2, 1 if last_stride == 16 else 2],
    )
    model = randomised(transformers.SegformerModel(config), seed)
    for name, module in model.named_modules():
        # transformers uses 1e-5 everywhere; the weights were trained with 1e-6 in blocks and after stages.
        if isinstance(module, torch.nn.LayerNorm) and "patch_embeddings" not in name and "reduction" not in name:
            module.eps = 1e-6
    return model


@pytest.mark.parametrize("last_stride", [16, 32])
@pytest.mark.parametrize("layout", ["transformers 5", "hub", "segmenter"])
def test_mit__gives_the_features_of_hugging_face(tmp_path, layout, last_stride):
    theirs = hugging_face_mit_b0(last_stride)
    if layout == "hub":
        theirs.save_pretrained(tmp_path)  # writes the names of transformers 4, as on the hub
        source = tmp_path
    else:
        prefix = "segformer." if layout == "segmenter" else ""
        state = {prefix + key: value for key, value in theirs.state_dict().items()}
        if layout == "segmenter":
            state["decode_head.classifier.weight"] = torch.zeros(2, 3)
        source = tmp_path / "weights.safetensors"
        save_file(state, source)
    ours = build_encoder("mit_b0", weights=str(source), last_stride=last_stride, scales=(0, 1, 2, 3)).eval()

    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = theirs(images, output_hidden_states=True).hidden_states
        found = ours(images)
    assert ours.channels == B0_WIDTHS
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def official_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our names turned into those of the SegFormer project, by hand: the conversion's inverse, not its code."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "patch_embed":
            parts[0] = "patch_embed1"
        elif parts[0] == "stages":
            number = int(parts[1]) + 1
            if parts[2] == "blocks":
                parts = [f"block{number}", *parts[3:]]
            elif parts[2] == "downsample":
                parts = [f"patch_embed{number}", *parts[3:]]
            else:
                parts = [f"norm{number}", *parts[3:]]
        if "dwconv" in parts:
            parts.insert(parts.index("dwconv"), "dwconv")
        renamed[".".join(parts)] = value
    return renamed


@pytest.mark.parametrize(("name", "prefix"), [("mit_b0", ""), ("mit_b0", "backbone."), ("pvt_v2_b0", "")])
def test_mit__reads_the_official_layout(tmp_path, name, prefix):
    # PVT-v2 has the same layout, read by timm's own conversion: the way by which older files of any network come in.
    donor = randomised(timm.create_model(name, num_classes=0), seed=5)
    official = official_layout(donor.state_dict())
    assert "block3.1.mlp.dwconv.dwconv.weight" in official
    assert "patch_embed4.proj.bias" in official
    content = {prefix + key: value for key, value in official.items()}
    head = "decode_head.linear.weight" if prefix else "head.weight"
    path = tmp_path / "official.pth"
    torch.save({"state_dict": content | {head: torch.zeros(4, 256)}, "meta": {"epoch": 3}}, path)

    encoder = build_encoder(name, weights=str(path), scales=(0, 1, 2, 3))
    for key, value in donor.state_dict().items():
        assert torch.equal(encoder.body.state_dict()[key], value), key


def test_mit__a_missing_half_of_key_and_value_fails_and_names_it(tmp_path):
    state = hugging_face_mit_b0(32).state_dict()
    value_key = next(key for key in state if re.search(r"stages\.1\..*v_proj\.weight|block\.1\..*value\.weight", key))
    del state[value_key]
    save_file(state, tmp_path / "half.safetensors")
    with pytest.raises(
        ModelError, match=r"1 are \(stages\.1\.blocks\.0\.attn\.kv\.weight\) missing, 1 are .*attn\.k\."
    ):
        build_encoder("mit_b0", weights=str(tmp_path / "half.safetensors"), scales=(1,))


@pytest.mark.parametrize("donor", ["resnet18", "pvt_v2_b0", "mit_b1"])
def test_mit__weights_of_another_network_fail_loudly(tmp_path, donor):
    path = tmp_path / "other.safetensors"
    save_file(timm.create_model(donor, num_classes=0).state_dict(), path)
    expected = {
        "resnet18": r"patch_embed\.proj\.weight.*missing, 120 are \(bn1.*unexpected",
        "pvt_v2_b0": r"stages\.0\.blocks\.0\.mlp\.fc1\.weight is 256x32, expected 128x32",
        "mit_b1": r"patch_embed\.proj\.weight is 64x3x7x7, expected 32x3x7x7",
    }
    with pytest.raises(ModelError, match=expected[donor]):
        build_encoder("mit_b0", weights=str(path), scales=(1,))


# Encoder parameters, as counted once from the widths and depths of the paper's table.
@pytest.mark.parametrize(("size", "millions"), [(0, 3.3), (1, 13.2), (2, 24.2), (3, 44.1), (4, 60.8), (5, 81.4)])
def test_mit__has_the_published_size(size, millions):
    with torch.device("meta"):  # shapes without memory
        model = timm.create_model(f"mit_b{size}", num_classes=0)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_mit__answers_timm():
    assert "mit_b3" in timm.list_models("mit_b*")
    features = timm.create_model("mit_b0", features_only=True, out_indices=(1, 3)).eval()
    with torch.no_grad():
        assert [tuple(m.shape) for m in features(torch.rand(1, 3, 64, 96))] == [(1, 64, 8, 12), (1, 256, 2, 3)]
    assert timm.create_model("mit_b0", num_classes=7).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 7)


def test_mit__norms_have_the_eps_the_weights_were_trained_with():
    model = timm.create_model("mit_b0")
    assert model.stages[2].blocks[1].norm2.eps == 1e-6
    assert model.stages[3].norm.eps == 1e-6
    assert model.patch_embed.norm.eps == 1e-5
