"""PSCL, MLPS, TPRO and UAM: their own parts by hand, and what each asks of the network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_floors import make_step
from torch.nn import functional as F

from wsi_lpd.config import load_config
from wsi_lpd.errors import ConfigError, ModelError
from wsi_lpd.methods.base import Place
from wsi_lpd.methods.choose import build_method
from wsi_lpd.methods.mlps.loss import dropout_attention, gamma_at
from wsi_lpd.methods.pscl.loss import confident_positions
from wsi_lpd.methods.tpro.vectors import read_vectors, write_vectors
from wsi_lpd.methods.uam import loss as uam
from wsi_lpd.methods.uam.loss import assignment_loss, nearest_centres
from wsi_lpd.models.gradcam import _as_maps, grad_cams
from wsi_lpd.models.heads.knowledge import KnowledgeAttention
from wsi_lpd.models.saved.load import network_for
from wsi_lpd.prototypes.report import find_prototypes

CLASSES = ("Tumor", "Stroma", "Necrosis")


def configured(method, *settings):
    return load_config(None, [f"method={method}", *settings])


def built(config, *, seed=0):
    torch.manual_seed(seed)
    return network_for(config, n_classes=3)


@pytest.fixture
def text(tmp_path):
    """A file of vectors, other lengths than the published and another order than the classes'."""
    generator = np.random.default_rng(8)
    path = tmp_path / "text.npz"
    write_vectors(path, ["Necrosis", "Glands", "Tumor", "Stroma"], generator.random((4, 12)), generator.random((4, 20)))
    return path


def with_text(path, *settings):
    sizes = ("model.prototype_dim=12", "model.knowledge_dim=20")
    return configured("tpro", f"model.vectors={path}", *sizes, *settings)


@pytest.mark.parametrize("method", ["pscl", "mlps", "tpro", "uam"])
@pytest.mark.parametrize("progress", [0.1, 0.9])
def test_terms__are_the_label_the_glass_and_the_methods_own(method, progress, text):
    config = with_text(text) if method == "tpro" else configured(method)
    network = built(config).train()
    chosen = build_method(config, CLASSES)
    chosen.prepare(network, [])
    losses = chosen.losses(make_step(network, progress=progress))
    own = {"pscl": {"contrast"}, "uam": {"assignment"}} if progress > 0.2 else {}
    assert set(losses.terms) == {"classification", "background", *own.get(method, set())}
    losses.total.backward()
    gradients = [p.grad for p in network.encoder.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("method", ["pscl", "mlps", "uam"])
def test_prototypes__of_another_kind_are_refused(method):
    with pytest.raises(ConfigError, match=f"prototypes is learnable, but method {method} needs"):
        configured(method, "model.prototypes=learnable")


# PSCL


def test_confident_positions__are_those_of_the_hand():
    # Stretched to [0, 1]: class 0 is 1, 0.75, 0.25, 0, 0.5, 0; class 1 is 0, 1, 0.6, 0, 0, 0.2; class 2 is absent.
    maps = torch.tensor([[[[8.0, 6, 2], [-5, 4, -1]], [[0.0, 5, 3], [-2, 0, 1]], [[9.0, 9, 9], [9, 9, 0]]]])
    labels = torch.tensor([[1, 1, 0]])
    found = confident_positions(maps, labels, confidence=0.55, most_per_image=9, most_per_batch=9)
    assert found.int().tolist() == [[[[1, 0, 0], [0, 0, 0]], [[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]]
    looser = confident_positions(maps, labels, confidence=0.45, most_per_image=9, most_per_batch=9)
    assert looser[0, 0].int().tolist() == [[1, 0, 0], [0, 1, 0]]
    fewer = confident_positions(maps, labels, confidence=0.45, most_per_image=1, most_per_batch=9)
    assert fewer.flatten(2).int().tolist() == [[[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0] * 6]]


def test_a_class_that_is_not_labelled__takes_no_part():
    maps = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(1))
    found = confident_positions(
        maps, torch.tensor([[-1, 1, 0], [1, -1, -1]]), confidence=0.3, most_per_image=20, most_per_batch=20
    )
    assert found.flatten(2).any(dim=2).tolist() == [[False, True, False], [True, False, False]]


def test_the_surest_of_the_batch__are_kept():
    maps = torch.rand(3, 2, 7, 5, generator=torch.Generator().manual_seed(5))
    labels = torch.ones(3, 2, dtype=torch.long)
    everything = confident_positions(maps, labels, confidence=0.1, most_per_image=35, most_per_batch=999)
    few = confident_positions(maps, labels, confidence=0.1, most_per_image=35, most_per_batch=4)
    assert few.sum(dim=(0, 2, 3)).tolist() == [4, 4]
    assert not (few & ~everything).any()
    activation = (maps - maps.amin((2, 3), True)) / (maps.amax((2, 3), True) - maps.amin((2, 3), True))
    left = everything & ~few
    for c in range(2):
        assert activation[:, c][few[:, c]].min() >= activation[:, c][left[:, c]].max() - 1e-5


def test_the_threshold__falls_from_the_first_to_the_last():
    method = build_method(configured("pscl"), CLASSES)
    assert [round(method._confidence(p), 6) for p in (0.2, 0.6, 1.0)] == [0.8, 0.65, 0.5]


# MLPS


def test_gamma__falls_by_a_fiftieth_in_every_twentieth_of_the_training():
    found = [gamma_at(progress, least=0.65) for progress in (0.0, 0.049, 0.05, 0.15, 0.999)]
    assert found == pytest.approx([1.0, 1.0, 0.98, 0.98**3, 0.98**19])
    assert gamma_at(0.9, least=0.9) == 0.9


def test_dropout_attention__leaves_out_the_peaks():
    maps = torch.tensor([[[[4.0, 3.0, -2.0]], [[1.0, -5.0, 2.0]], [[-1.0, -1.0, -3.0]]]])
    # gamma 0.8: of the first 4 goes (> 3.2), of the second 2 (> 1.6), the third is nothing.
    torch.testing.assert_close(dropout_attention(maps, 0.8), torch.tensor([[[[1 / 3, 1.0, 0.0]]]]))
    torch.testing.assert_close(dropout_attention(maps, 1.0), torch.tensor([[[[5 / 3, 1.0, 2 / 3]]]]))


def test_attention__weighs_features_and_begins_after_its_start():
    config = configured("mlps", "model.dropout=0", "loss.background_weight=0")
    network = built(config)
    step = make_step(network, progress=0.14)
    output = network(step.images)
    attention = dropout_attention(output.class_maps[0], gamma_at(0.6, least=0.65))
    weighed = (output.features[0] * attention).mean(dim=(2, 3))
    for progress, features in ((0.14, output.features[0].mean(dim=(2, 3))), (0.6, weighed)):
        logits = features @ network.classifier.convolutions[0].weight[:, :, 0, 0].T
        expected = F.binary_cross_entropy_with_logits(logits, step.labels.float())
        losses = build_method(config, CLASSES).losses(replace(step, progress=progress))
        assert float(losses.total) == pytest.approx(float(expected), rel=1e-4)


def test_dropout__hides_whole_channels_in_training_alone():
    network = built(configured("mlps"))
    images = torch.rand(2, 3, 64, 96)
    network.train()
    assert not torch.equal(
        network.classifier([torch.ones(2, 152, 3, 4)])[0], network.classifier([torch.ones(2, 152, 3, 4)])[0]
    )
    network.eval()
    torch.testing.assert_close(network(images).fused_maps, network(images).fused_maps, rtol=0, atol=0)


def test_grad_cam__is_the_sum_of_gradients_times_activations():
    network = built(configured("mlps")).eval()
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        _, cams = grad_cams(network, images, n_stages=3)
    body = network.encoder.body
    activations = [body.stem((images - network.mean) / network.std)]
    for stage in (body.s1, body.s2, body.s3):
        activations.append(stage(activations[-1]))
    logits = network.classifier(activations[-1:])[0].mean(dim=(2, 3))
    for activation, cam in zip(activations[1:], cams, strict=True):
        for c in range(3):
            (gradient,) = torch.autograd.grad(logits[:, c].sum(), activation, retain_graph=True)
            expected = (gradient.sum(dim=(2, 3), keepdim=True) * activation).sum(dim=1)
            torch.testing.assert_close(cam[:, c], expected.detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        ("model.encoder=regnety_002",),
        ("model.encoder=swin_tiny_patch4_window7_224",),
        ("model.encoder=pvt_v2_b0",),
        ("model.encoder=vit_tiny_patch16_224", "model.scales=[11]", "model.adapter=false"),
        ("model.frozen=true", "model.adapter=false"),
    ],
)
def test_mask_layers__are_three_with_the_networks_own_first(settings):
    config = configured("mlps", *settings)
    network = built(config).eval().requires_grad_(False)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(7))
    labels = torch.tensor([[1, 0, -1], [0, 1, 1]])
    method = build_method(config, CLASSES)
    with torch.inference_mode():
        layers = method.mask_layers(network, images, labels)
        output = network(images)
        own = network.map_logits(output, torch.ones(2, 3))
        _, cams = grad_cams(network, images, n_stages=3)
    assert len(layers) == len(method.mask_weights) == 3
    assert sum(method.mask_weights) == pytest.approx(1)
    # A frozen encoder's maps are rounded to half precision, and the last norm of a transformer comes after its blocks.
    torch.testing.assert_close(layers[0], own, rtol=1e-2, atol=1e-3)
    if "vit" not in config.model.encoder:
        torch.testing.assert_close(cams[2], output.fused_maps, rtol=1e-2, atol=1e-3)
    for layer, cam in ((layers[1], cams[1]), (layers[2], cams[0])):
        assert layer.shape == (2, 4, *cam.shape[2:])
        torch.testing.assert_close(layer[:, 1:].amax((1, 2, 3)), layers[0][:, 1:].amax((1, 2, 3)))
        torch.testing.assert_close(layer[:, 1:].amin((1, 2, 3)), layers[0][:, 1:].amin((1, 2, 3)))
        assert torch.equal(
            layer[:, 1:].flatten(1).argsort(stable=True)[:, -5:], cam.flatten(1).argsort(stable=True)[:, -5:]
        )


def test_maps__are_found_in_every_layout():
    maps = torch.rand(2, 5, 3, 4)
    tokens = torch.cat([torch.full((2, 2, 5), 9.0), maps.flatten(2).transpose(1, 2)], dim=1)
    for layout in (maps, maps.permute(0, 2, 3, 1), tokens):
        torch.testing.assert_close(_as_maps(layout, 5, (3, 4)), maps, rtol=0, atol=0)


def test_other_methods__have_the_map_that_decides():
    config = configured("lpd")
    network = built(config).eval()
    images = torch.rand(2, 3, 64, 96)
    method = build_method(config, CLASSES)
    (layer,) = method.mask_layers(network, images, torch.tensor([[1, 0, -1], [0, 1, 1]]))
    torch.testing.assert_close(layer, network.map_logits(network(images), torch.ones(2, 3)))
    assert method.mask_weights == (1.0,)


def test_a_linear_classifier__has_no_prototypes_to_be_drawn():
    network = built(configured("pscl"))
    card = type("Card", (), {"method": "pscl"})
    with pytest.raises(ModelError, match="my-run: is a model of method pscl, which has no prototypes"):
        find_prototypes(network, card, None, run="my-run", what="patches", device=torch.device("cpu"))


# TPRO


def test_without_a_file__tpro_says_what_is_missing():
    with pytest.raises(ConfigError, match=r"there is no file of text vectors; set model\.vectors to a \.npz"):
        configured("tpro")


def test_vectors__come_in_the_order_of_the_classes(text):
    found = read_vectors(text, CLASSES)
    with np.load(text) as arrays:
        np.testing.assert_allclose(found.classes, arrays["class_vectors"][[2, 3, 0]], rtol=1e-6)
        np.testing.assert_allclose(found.knowledge, arrays["knowledge_vectors"][[2, 3, 0]], rtol=1e-6)


def test_a_network__gets_the_vectors_and_never_learns_them(text):
    config = with_text(text)
    network = built(config)
    build_method(config, CLASSES).prepare(network, [])
    found = read_vectors(text, CLASSES)
    for vectors, expected in zip(network.vectors(), (found.classes, found.knowledge), strict=True):
        assert not vectors.requires_grad
        torch.testing.assert_close(F.normalize(vectors.reshape(expected.shape), dim=1), F.normalize(expected, dim=1))


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"names": ["Tumor"]}, "has no array 'class_vectors', only names"),
        (
            {"names": ["Tumor", "Stroma"], "class_vectors": np.ones((2, 12))},
            "has no vector for Necrosis, only for Tumor",
        ),
        ({"names": [*CLASSES], "class_vectors": np.ones((2, 12))}, r"class_vectors is float64 \(2, 12\), expected"),
        ({"names": [*CLASSES], "class_vectors": np.zeros((3, 12))}, "holds a row that is all zero"),
        (
            {"names": [*CLASSES], "class_vectors": np.ones((3, 12))},
            r"holds no knowledge vectors, model\.knowledge_dim is 20",
        ),
        ({"names": [*CLASSES], "class_vectors": np.ones((3, 9))}, r"of length 9, .* set model\.prototype_dim=9"),
        ({"names": np.array([*CLASSES], object), "class_vectors": np.ones((3, 9))}, r"is no \.npz file"),
    ],
)
def test_a_file_that_does_not_fit__is_told(arrays, told, tmp_path):
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays)
    config = with_text(path)
    with pytest.raises(ConfigError, match=told):
        build_method(config, CLASSES).prepare(built(config), [])


@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04 cut off"])
def test_a_file_of_something_else__is_told(content, tmp_path):
    path = tmp_path / "wrong.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"wrong\.npz: (is no \.npz file|cannot be read)"):
        read_vectors(path, CLASSES)
    with pytest.raises(ConfigError, match=r"missing\.npz: cannot be read"):
        read_vectors(tmp_path / "missing.npz", CLASSES)


def test_knowledge_attention__does_not_mind_the_order_of_knowledge_but_its_content():
    torch.manual_seed(4)
    attention = KnowledgeAttention(n_classes=3, dim=10, width=24).eval()
    features = torch.randn(2, 24, 3, 5)
    with torch.no_grad():
        attention.vectors.copy_(torch.randn(3, 10))
        first = attention(features)
        turned = attention(features.flip(3))
        attention.vectors.copy_(attention.vectors[[2, 0, 1]].clone())
        reordered = attention(features)
        attention.vectors.mul_(-2)
        changed = attention(features)
    assert first.shape == features.shape
    torch.testing.assert_close(turned.flip(3), first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(reordered, first, rtol=1e-4, atol=1e-5)
    assert (changed - first).abs().max() > 1e-3


# UAM


def test_nearest_centres__are_those_of_classes_on_the_label():
    similarity = torch.tensor([0.1, 0.3, 0.9, 0.2, 0.4, 0.8]).reshape(1, 3, 2, 1, 1).expand(3, -1, -1, 1, 2).clone()
    similarity[..., 1] *= -1
    labels = torch.tensor([[1, 0, 0], [1, -1, 1], [0, 0, 0]])
    tissue = torch.ones(3, 1, 2, dtype=torch.bool)
    tissue[1, 0, 1] = False
    found = nearest_centres(similarity, labels, tissue)
    assert found.tolist() == [[[1, 0]], [[5, -1]], [[-1, -1]]]


def test_assignment_loss__is_the_mean_over_positions_that_have_a_cluster():
    guesses = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 3.0]]).reshape(1, 3, 1, 2)
    loss = assignment_loss(guesses, torch.tensor([[[0, -1]]]))
    assert float(loss) == pytest.approx(-2 + float(torch.logsumexp(torch.tensor([2.0, 0, -1]), 0)), rel=1e-5)
    both = assignment_loss(guesses, torch.tensor([[[0, 2]]]))
    second = -3 + float(torch.logsumexp(torch.tensor([0.0, 1, 3]), 0))
    assert float(both) == pytest.approx((float(loss) + second) / 2, rel=1e-5)
    nothing = assignment_loss(guesses.requires_grad_(), torch.full((1, 1, 2), -1))
    nothing.backward()
    assert float(nothing) == 0


def test_maps_of_centres__are_the_nearest_and_never_below_zero():
    network = built(configured("uam", "model.prototypes_per_class=2")).eval()
    with torch.no_grad():
        network.prototypes.vectors[1].neg_()
    output = network(torch.rand(2, 3, 64, 96))
    unit = F.normalize(output.features[0], dim=1)
    centres = F.normalize(network.prototypes.vectors, dim=-1)
    cosines = torch.einsum("bdhw,ckd->bckhw", unit, centres)
    torch.testing.assert_close(output.fused_maps, cosines.amax(2).relu() / 0.1, rtol=1e-4, atol=1e-4)
    maps = network.classifier(output.features)[0]
    torch.testing.assert_close(output.fused_logits, maps.mean(dim=(2, 3)))


def test_thinned_points__are_every_nth(monkeypatch):
    monkeypatch.setattr(uam, "_MOST_POINTS", 10)
    kept = uam._Thinned()
    parts = torch.arange(93.0)[:, None].split([7, 1, 30, 3, 52])
    for part in parts:
        kept.add(part)
    found = kept.found()[:, 0].tolist()
    assert found == list(range(0, 93, 16))


def test_clusters__are_of_the_positions_of_their_class():
    config = configured("uam", "model.prototypes_per_class=2")
    network = built(config).eval()
    generator = torch.Generator().manual_seed(6)
    patches = []
    for c in range(3):
        images = 0.2 * torch.rand(4, 3, 64, 96, generator=generator)
        images[:, c] += 0.7
        patches.append((images, torch.eye(3, dtype=torch.long)[c].expand(4, -1)))
    step = replace(make_step(network), patches=lambda: iter(patches))
    method = build_method(config, CLASSES)
    place = Place(20, 100, 10)
    assert [i for i in range(40) if method.rearranges(Place(i, 100, 10))] == [20, 30]
    assert method.rearrange(step, place)
    for c, (images, labels) in enumerate(patches):
        output = network(images)
        assert (output.fused_maps.argmax(dim=1) == c).float().mean() > 0.9
        found = nearest_centres(output.similarity[0], labels, torch.ones(4, 4, 6, dtype=torch.bool))
        assert set(found.unique().tolist()) == {2 * c, 2 * c + 1}, "both centres must have positions"
    swapped = network.prototypes.vectors.detach().flip(1).clone()
    with torch.no_grad():
        network.prototypes.vectors.copy_(swapped)
    method.rearrange(step, Place(30, 100, 10))  # from where they are, so that clusters keep their numbers
    torch.testing.assert_close(network.prototypes.vectors.detach(), swapped)


def test_centres__need_one_scale_and_absolute_scores():
    with pytest.raises(ConfigError, match="centres needs one scale and absolute scores, got 1 scales and relative"):
        configured("uam", "model.scores=relative")
    with pytest.raises(ConfigError, match="got 2 scales"):
        configured("uam", "model.scales=[2, 3]", "model.fusion_weights=[1, 1]", "loss.scale_weights=[1, 1]")
