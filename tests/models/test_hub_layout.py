"""Encoders by a folder, a hub name, or a foundation model's name: all without network."""

from __future__ import annotations

import json

import pytest
import torch
from hub_folders import MEAN, SMALL, STD, hub_folder
from safetensors.torch import load_file, save_file

from wsi_lpd.config import load_config
from wsi_lpd.errors import ModelError
from wsi_lpd.models.encoders.blueprint import Blueprint, find_blueprint
from wsi_lpd.models.encoders.build import build_encoder
from wsi_lpd.models.encoders.catalogue import CATALOGUE, catalogue_entry
from wsi_lpd.models.encoders.info import encoder_info

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_a_folder__brings_network_weights_statistics_and_licence(tmp_path, kind):
    folder = hub_folder(tmp_path / "net", kind)
    encoder = build_encoder(str(folder), weights=str(folder))
    donor = load_file(folder / "model.safetensors")
    state = encoder.body.state_dict()
    assert len(state) > 10
    assert all(torch.equal(state[key], donor[key]) for key in state)
    assert (list(encoder.mean), list(encoder.std), encoder.licence) == (MEAN, STD, "cc-by-4.0")
    images = torch.rand(1, 3, 72, 104)  # neither the size it learnt from, nor square, nor a multiple of 16
    maps = encoder.eval()(images)
    assert [m.shape[-2:] for m in maps] == [(-(-72 // r), -(-104 // r)) for r in encoder.reductions]


def test_a_configuration__takes_the_weights_of_a_named_source_unless_it_names_others():
    def weights(*settings):
        return load_config(None, list(settings)).model.weights

    assert weights() == "none"
    assert weights("model.encoder=hf-hub:owner/net") == "hf-hub:owner/net"
    assert weights("model.encoder=./net") == "./net"
    assert weights("model.encoder=hf-hub:owner/net", "model.weights=net.safetensors") == "net.safetensors"
    assert load_config(None, ["model.encoder=hf-hub:owner/net"]).peak_learning_rate == 1e-3


def test_a_hub_name__is_read_from_the_cache(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--owner--net"
    hub_folder(repository / "snapshots" / "0123abcd", "vit")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    encoder = build_encoder("hf-hub:owner/net", weights="hf-hub:owner/net")
    assert encoder.channels == (24, 24, 24)
    assert encoder.weights.startswith("hf-hub:owner/net/model.safetensors (sha256:")
    facts = encoder_info("hf-hub:owner/net")
    assert facts.local == repository / "snapshots" / "0123abcd" / "model.safetensors"
    assert (facts.input_px, facts.scales, facts.takes_any_size) == ((32, 32), (1, 2, 3), True)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf-hub:owner/net", r"owner/net \(config\.json\).*hf download owner/net --local-dir net.*model\.weights=net"),
        ("./nowhere", r"\./nowhere is no folder; expected a timm name, hf-hub:owner/name, or a folder"),
    ],
)
def test_what_is_not_here__is_told_with_what_to_do(tmp_path, monkeypatch, name, told):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=told):
        build_encoder(name, weights=name)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "bert"}, r"describes 'bert'; expected timm's `architecture`"),
        ({"model_type": "vit", "hidden_size": 24}, "lacks a size.*image_size"),
        ({"architecture": "vit_tiny_patch16_224", "model_args": {"dept": 3}}, "timm refuses to build.*dept"),
        ({"architecture": "vit_tiny_patch99"}, "no model 'vit_tiny_patch99'"),
        ({"architecture": "vit_tiny_patch16_224", "model_args": {"mlp_layer": "os.system"}}, "expected one of Mlp"),
        ({"architecture": "resnet18", "pretrained_cfg": {"mean": [0.5]}}, "three numbers"),
    ],
)
def test_a_description_that_cannot_be_built__is_refused_in_one_line(tmp_path, config, told):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=told) as caught:
        build_encoder(str(tmp_path))
    assert "\n" not in str(caught.value)


# --- foundation models -------------------------------------------------------------------------------------------

PARAMETERS = {  # in millions; cards and papers say 303, 681, 632, 632, 1100, 1100, 1135, 86, 304, 86 and 303
    "MahmoodLab/UNI": 303.4,
    "MahmoodLab/UNI2-h": 681.4,
    "paige-ai/Virchow": 631.2,
    "paige-ai/Virchow2": 631.2,
    "bioptimus/H-optimus-0": 1134.8,
    "bioptimus/H-optimus-1": 1134.8,
    "prov-gigapath/prov-gigapath": 1135.0,
    "histai/hibou-b": 85.7,
    "histai/hibou-L": 303.7,
    "owkin/phikon": 85.8,
    "owkin/phikon-v2": 303.4,
}


@pytest.mark.parametrize("known", CATALOGUE, ids=lambda known: known.repository)
def test_a_known_encoder__is_what_its_card_says_and_needs_no_hub(known, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    facts = encoder_info(known.name)
    assert facts.n_parameters / 1e6 == pytest.approx(PARAMETERS[known.repository], abs=0.25)
    assert {stage.stride_px for stage in facts.stages} == {known.patch_px}
    assert facts.takes_any_size
    assert facts.input_px == (224, 224)
    assert facts.licence == known.licence
    assert facts.local is None


def test_known_encoders__are_found_whatever_the_case_and_revision():
    assert catalogue_entry("hf-hub:mahmoodlab/uni@abc") is CATALOGUE[0]
    assert catalogue_entry("hf_hub:MahmoodLab/UNI") is CATALOGUE[0]
    assert catalogue_entry("MahmoodLab/UNI") is None
    assert catalogue_entry("hf-hub:MahmoodLab/UNI3") is None


def test_a_known_encoder_with_local_weights__keeps_the_arguments_that_json_cannot_hold(tmp_path, monkeypatch):
    from wsi_lpd.models.encoders import catalogue as table

    small = {"embed_dim": 24, "depth": 4, "num_heads": 2, "img_size": 28, "mlp_ratio": 5.33334, "reg_tokens": 2,
             "no_embed_class": True, "mlp_layer": "SwiGLUPacked", "act_layer": "silu"}  # fmt: skip
    entry = table.CatalogueEntry("lab/Small", "vit_giant_patch14_224", 14, "0.5", "MIT", True, small)
    monkeypatch.setattr(table, "CATALOGUE", (entry,))
    torch.manual_seed(5)
    donor, _ = Blueprint(entry.architecture, small).body()
    save_file(donor.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_giant_patch14_224"}))
    encoder = build_encoder("hf-hub:lab/Small", weights=str(tmp_path)).eval()
    images = torch.rand(1, 3, 42, 56)
    expected = donor.eval().forward_intermediates(images, indices=[3], norm=True, intermediates_only=True)
    torch.testing.assert_close(encoder(images)[-1], expected[0])
    assert encoder.licence == "MIT"


# --- the layout of transformers ----------------------------------------------------------------------------------

SIZES = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}


def made_by_transformers(kind):
    torch.manual_seed(8)
    if kind == "vit":
        model = transformers.ViTModel(transformers.ViTConfig(intermediate_size=60, **SIZES), add_pooling_layer=False)
    elif kind == "dinov2":
        model = transformers.Dinov2Model(transformers.Dinov2Config(mlp_ratio=4, **SIZES))
    else:
        config = transformers.Dinov2WithRegistersConfig(mlp_ratio=4, use_swiglu_ffn=True, **SIZES)
        model = transformers.Dinov2WithRegistersModel(config)
    with torch.no_grad():  # zeros and ones of a fresh model would hide what is left out
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def in_layout_of_version_4(state):
    """The names that the hub's files have: of transformers 4, where query, key and value lie deeper."""
    renamed = {}
    for key, value in state.items():
        key = key.replace("attention.q_proj", "attention.attention.query").replace(
            "attention.o_proj", "attention.output.dense"
        )
        key = key.replace("attention.k_proj", "attention.attention.key").replace(
            "attention.v_proj", "attention.attention.value"
        )
        if key.startswith("layers."):
            key = "encoder.layer." + key.removeprefix("layers.")
            key = key.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        renamed[key.replace("mlp.down_proj", "mlp.weights_out")] = value
    for key in [key for key in renamed if ".mlp.gate_proj." in key]:
        other = key.replace("gate_proj", "up_proj")
        renamed[key.replace("gate_proj", "weights_in")] = torch.cat([renamed.pop(key), renamed.pop(other)])
    return renamed


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("kind", ["vit", "dinov2", "registers"])
def test_transformers__tokens_are_the_same(tmp_path, kind, version):
    model = made_by_transformers(kind)
    state = model.state_dict()
    save_file(state if version == 5 else in_layout_of_version_4(state), tmp_path / "model.safetensors")
    config = model.config.to_dict()
    if version == 4 and kind == "registers":  # as Hibou states it
        config["model_type"] = "dinov2"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    encoder = build_encoder(str(tmp_path), weights=str(tmp_path)).eval()
    assert (list(encoder.mean), encoder.reductions) == (MEAN, (8, 8, 8))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        tokens = model(images).last_hidden_state[:, -16:]
        found = encoder(images)[-1].flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, tokens, rtol=1e-3, atol=1e-4)


def test_blueprints__of_timm_names_are_the_names():
    assert find_blueprint("resnet50.a1_in1k") == Blueprint("resnet50.a1_in1k")
