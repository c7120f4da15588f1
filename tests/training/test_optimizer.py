"""What is decayed, and how the learning rate runs."""

import pytest

from wsi_lpd.config import load_config
from wsi_lpd.methods.choose import build_method
from wsi_lpd.models.network import build_network
from wsi_lpd.training.optimizer import build_optimizer, rate_factor, set_rate


def test_norms_biases_scales_and_prototypes__are_not_decayed():
    config = load_config(None, ["model.prototype_dim=16"])
    network = build_network(config.model, n_classes=3)
    optimizer = build_optimizer(network, config)
    names = {id(p): name for name, p in network.named_parameters()}
    decayed = {names[id(p)] for g in optimizer.param_groups if g["weight_decay"] > 0 for p in g["params"]}
    plain = {names[id(p)] for g in optimizer.param_groups if g["weight_decay"] == 0 for p in g["params"]}
    assert decayed | plain == set(names.values())
    assert {"prototypes.vectors", "prototypes.log_scales", "prototypes.offsets", "background"} <= plain
    assert not {name for name in decayed if "norm" in name or name.endswith("bias")}
    assert "refiner.weight" in decayed
    config = load_config(None, ["train.learning_rate=3e-3", "train.prototype_learning_rate=5e-3"])
    optimizer = build_optimizer(network, config)
    set_rate(optimizer, 0.5)
    assert {g["lr"] for g in optimizer.param_groups} == {1.5e-3, 2.5e-3}


def test_the_rate__rises_then_falls_to_a_hundredth():
    factors = [rate_factor(step, 200, 0.1) for step in range(200)]
    assert factors[:20] == pytest.approx([(i + 1) / 20 for i in range(20)])
    assert factors[20:] == sorted(factors[20:], reverse=True)
    assert factors[-1] == pytest.approx(0.01, abs=1e-3)


def test_the_published_recipe__decays_everything_and_can_be_told_not_to():
    for settings, spared in (([], False), (["reference.decay_everything=false"], True)):
        config = load_config(None, ["method=lpd-reference", *settings])
        decays = build_method(config, ["A", "B", "C"]).decays_everything
        network = build_network(config.model, n_classes=3)
        groups = build_optimizer(network, config, decays_everything=decays).param_groups
        assert any(g["weight_decay"] == 0 for g in groups) is spared


def test_the_rate__is_lower_for_weights_that_have_learnt_something():
    assert load_config(None, ["model.weights=none"]).peak_learning_rate == 1.2e-2
    assert load_config(None, ["model.weights=timm"]).peak_learning_rate == 1e-3
    assert load_config(None, ["model.weights=timm", "train.learning_rate=2e-4"]).peak_learning_rate == 2e-4
