"""The methods to beat: cam, pbip and the published recipe."""

import pytest
import torch

from wsi_lpd.config import load_config
from wsi_lpd.errors import ConfigError, TrainingError
from wsi_lpd.methods.base import Step
from wsi_lpd.methods.choose import build_method
from wsi_lpd.models.network import build_network

CLASSES = ("Tumor", "Stroma", "Necrosis")
TINY = ["model.scales=[1, 2]", "model.fusion_weights=[0.4, 0.6]", "loss.scale_weights=[0.5, 1]"]
SWITCHES = (
    "double_softmax", "no_temperature", "class_offset", "raw_prototypes", "raw_background_score", "ungated_mask",
    "image_threshold", "raw_crops", "sibling_negatives",
)  # fmt: skip


def configured(method, *settings):
    return load_config(None, [f"method={method}", *TINY, *settings])


def built(config, *, seed=0):
    torch.manual_seed(seed)
    return build_network(config.model, n_classes=3)


def make_step(network, *, progress=0.9):
    images = torch.rand(4, 3, 64, 96, generator=torch.Generator().manual_seed(4))
    images[:, 0, :, 40:] *= 0.5
    return Step(
        images=images,
        clean=images,
        labels=torch.tensor([[1, 0, 1], [1, 1, 0], [0, 0, 1], [1, 1, 1]]),
        positive_weights=torch.ones(3),
        progress=progress,
        network=network,
        student=network,
        teacher=network,
    )


def test_cam__has_one_prototype_per_class_and_no_term_but_label_and_glass():
    config = configured("cam")
    losses = build_method(config, CLASSES).losses(make_step(built(config)))
    assert set(losses.terms) == {"classification", "background"}
    assert config.model.prototypes_per_class == 1


def test_cam__refuses_several_prototypes():
    with pytest.raises(ConfigError, match=r"prototypes_per_class is 4, but method cam needs 1"):
        configured("cam", "model.prototypes_per_class=4")


def test_a_bank__is_for_pbip_alone():
    with pytest.raises(ConfigError, match="prototypes is bank, but method lpd"):
        configured("lpd", "model.prototypes=bank")
    with pytest.raises(ConfigError, match="prototypes is learnable, but method pbip"):
        configured("pbip", "model.prototypes=learnable")


def test_a_file__wins_over_a_preset(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("method: pbip\nmodel: {prototypes_per_class: 7}\n")
    assert load_config(path).model.prototypes_per_class == 7
    assert load_config(path).model.prototypes == "bank"
    assert load_config(path, ["model.prototypes_per_class=2"]).model.prototypes_per_class == 2


def single_class_patches(counts):
    """Patches of one colour family per class, one class each, and one that holds two."""
    generator = torch.Generator().manual_seed(6)
    for c, count in enumerate(counts):
        for _ in range(count):
            image = 0.2 * torch.rand(1, 3, 64, 48, generator=generator)
            image[:, c] += 0.7
            yield image, torch.eye(3, dtype=torch.long)[c][None]
    yield torch.rand(1, 3, 64, 48, generator=generator), torch.tensor([[1, 1, 0]])


def test_pbip__fills_its_bank_and_never_learns_it():
    config = configured("pbip")
    network = built(config)
    fresh = network.prototypes.vectors.detach().clone()
    method = build_method(config, CLASSES)
    method.prepare(network, single_class_patches([4, 5, 6]))
    bank = network.prototypes.vectors
    assert not torch.allclose(bank, fresh)
    assert not bank.requires_grad
    unit = torch.nn.functional.normalize(bank, dim=-1)
    between = (unit[0] @ unit[1].T).mean()
    within = (unit[0] @ unit[0].T).mean()
    assert within > between, "patches of one colour must be closer to each other"
    losses = method.losses(make_step(network))
    assert set(losses.terms) == {"classification", "background", "similarity"}


def test_pbip__says_which_class_has_too_few_patches_of_its_own():
    config = configured("pbip")
    with pytest.raises(TrainingError, match="class Stroma: 2 patches are labelled with it alone, method pbip needs"):
        build_method(config, CLASSES).prepare(built(config), single_class_patches([4, 2, 6]))


def reference_terms(*settings):
    config = configured("lpd-reference", "model.prototype_dim=56", *settings)
    network = built(config)
    with torch.no_grad():  # maps that are sure of something, so that regions and crops are not empty
        network.prototypes.offsets += torch.tensor([0.3, -0.2, 0.1])
    network.train()
    return build_method(config, CLASSES).losses(make_step(network)).values()


@pytest.fixture(scope="module")
def published():
    return reference_terms()


def test_the_published_recipe__starts_and_has_its_three_terms(published):
    assert set(published) == {"classification", "diversity", "similarity", "loss"}
    assert all(torch.isfinite(torch.tensor(list(published.values()))))


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch__changes_a_term(published, switch):
    assert reference_terms(f"reference.{switch}=false") != pytest.approx(published, rel=1e-6)


def test_raw_prototypes__of_another_length_are_refused():
    config = configured("lpd-reference", "model.prototype_dim=40")
    with pytest.raises(ConfigError, match=r"length 40 with features of 56 channels; set model\.prototype_dim=56"):
        build_method(config, CLASSES).prepare(built(config), [])
