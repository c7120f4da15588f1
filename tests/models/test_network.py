"""The network: shapes, what is learnt, and what it is never told."""

import inspect

import pytest
import torch

from wsi_lpd.config import load_config
from wsi_lpd.models.heads.prototypes import MAX_SCALE, Prototypes
from wsi_lpd.models.network import LpdNetwork, build_network, put_together, taken_apart
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.segmentation.job import SegmentJob
from wsi_lpd.segmentation.segmenter import segment_slide


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    settings = ["model.encoder=pvt_v2_b0", "model.prototype_dim=24"]
    return build_network(load_config(None, settings).model, n_classes=3)


def test_shapes__of_every_scale(network):
    output = network(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in output.class_maps] == [(2, 3, 8, 12), (2, 3, 4, 6), (2, 3, 4, 6)]
    assert [tuple(a.shape) for a in output.similarity] == [(2, 3, 5, 8, 12), (2, 3, 5, 4, 6), (2, 3, 5, 4, 6)]
    assert output.fused_maps.shape == (2, 3, 8, 12)
    assert output.fused_logits.shape == (2, 3)
    assert network.fused_similarity(output).shape == (2, 3, 5, 8, 12)
    assert all(a.abs().max() <= 1 + 1e-5 for a in output.similarity)


def test_no_inference_function__takes_a_label():
    for function in (LpdNetwork.forward, Predictor.predict, Predictor.load, segment_slide, SegmentJob.run):
        assert not [name for name in inspect.signature(function).parameters if "label" in name or "truth" in name]


def prototypes(per_class):
    torch.manual_seed(2)
    return Prototypes(n_classes=3, per_class=per_class, dim=16, channels=(7, 11), initial_scale=10.0)


def test_similarity__is_the_cosine_to_the_projected_prototype():
    proto = prototypes(4)
    features = torch.randn(2, 11, 5, 6)
    similarity = proto.similarity(features, 1)
    q = proto.heads[1](proto.vectors)[2, 3]
    expected = torch.cosine_similarity(features[1, :, 4, 2], q, dim=0)
    assert float(similarity[1, 2, 3, 4, 2]) == pytest.approx(float(expected), abs=1e-5)


def test_class_maps__are_a_soft_maximum_between_mean_and_maximum():
    proto = prototypes(4)
    similarity = torch.rand(2, 3, 4, 5, 6) * 2 - 1
    maps = proto.class_maps(similarity, 0)
    assert (maps >= 10 * similarity.mean(2) - 1e-4).all()
    assert (maps <= 10 * similarity.amax(2) + 1e-4).all()
    equal = similarity[:, :, :1].expand(-1, -1, 4, -1, -1)
    torch.testing.assert_close(proto.class_maps(equal, 0), 10 * equal[:, :, 0], rtol=1e-4, atol=1e-4)


def test_one_prototype__gives_the_scaled_similarity():
    proto = prototypes(1)
    similarity = torch.rand(2, 3, 1, 5, 6)
    torch.testing.assert_close(proto.class_maps(similarity, 0), 10 * similarity[:, :, 0], rtol=1e-5, atol=1e-5)


def test_the_scale__is_bounded_and_offsets_shift_their_class():
    proto = prototypes(1)
    with torch.no_grad():
        proto.log_scales.fill_(50.0)
        proto.offsets[0] = torch.tensor([0.0, 2.0, -1.0])
    maps = proto.class_maps(torch.full((1, 3, 1, 2, 2), 0.5), 0)
    assert maps[0, :, 0, 0].tolist() == pytest.approx([MAX_SCALE / 2, MAX_SCALE / 2 + 2, MAX_SCALE / 2 - 1])


def test_prototypes__start_spread_out():
    vectors = torch.nn.functional.normalize(prototypes(4).vectors.detach(), dim=-1).flatten(0, 1)
    off_diagonal = (vectors @ vectors.T)[~torch.eye(12, dtype=torch.bool)]
    assert off_diagonal.abs().max() < 1e-5


def test_a_mosaic__is_taken_apart_into_what_was_put_together():
    images = torch.arange(8 * 2 * 3 * 5.0).reshape(8, 2, 3, 5)
    together = put_together(images, 2)
    assert together.shape == (2, 2, 6, 10)
    assert torch.equal(together[0, :, :3, 5:], images[1]), "the second image lies to the right of the first"
    assert torch.equal(together[1, :, 3:, :5], images[6])
    assert torch.equal(taken_apart(together, 2), images)


def test_a_mosaic__gives_each_image_its_own_maps(network):
    network.eval()
    images = torch.rand(4, 3, 64, 96)
    with torch.no_grad():
        alone, among = network(images), network(images, mosaic=2)
    assert [m.shape for m in alone.class_maps] == [m.shape for m in among.class_maps]
    far = torch.stack([(alone.fused_maps[i] - among.fused_maps[j]).abs().mean() for i in range(4) for j in range(4)])
    assert (far.reshape(4, 4).argmin(dim=1) == torch.arange(4)).all()
