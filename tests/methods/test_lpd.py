"""LPD's terms on one batch."""

from dataclasses import replace

import pytest
import torch

from wsi_lpd.config import load_config
from wsi_lpd.methods.base import Place, Step
from wsi_lpd.methods.lpd.loss import Lpd
from wsi_lpd.methods.terms import ramp
from wsi_lpd.models.network import build_network


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(load_config(None, ["model.encoder=pvt_v2_b0"]).model, n_classes=3)


def make_step(network, *, progress):
    """The teacher is so sure of the first class that the mask-based terms have positions."""

    def teacher(images):
        with torch.no_grad():
            output = network(images)
        output.fused_maps[:, 0] += 20
        return output

    images = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(4))
    return Step(
        images=images,
        clean=images,
        labels=torch.tensor([[1, 0, 1], [1, 1, 0], [1, 0, 0]]),
        positive_weights=torch.ones(3),
        progress=progress,
        network=network,
        student=network,
        teacher=teacher,
    )


def test_every_parameter__gets_a_finite_gradient(network):
    network.train()
    losses = Lpd(load_config()).losses(make_step(network, progress=0.9))
    losses.total.backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing
    assert network.prototypes.vectors.grad.abs().amin(dim=-1).min() > 0, "every prototype must be pulled"
    network.zero_grad()


def test_before_the_warm_up_ends__only_the_label_and_the_glass_speak(network):
    step = replace(make_step(network, progress=0.1), teacher=None)
    losses = Lpd(load_config()).losses(step)
    assert set(losses.terms) == {"classification", "exclusion", "background"}
    assert losses.values()["loss"] == pytest.approx(sum(v for k, v in losses.values().items() if k != "loss"), rel=1e-5)


@pytest.mark.parametrize(("progress", "strength"), [(0.19, 0), (0.2, 0), (0.25, 0.25), (0.4, 1), (0.9, 1)])
def test_ramp__grows_from_its_start_to_one(progress, strength):
    assert ramp(progress, load_config().loss) == pytest.approx(strength)


def test_the_refiner__pools_its_own_features_or_those_that_training_began_with():
    torch.manual_seed(5)
    other = build_network(load_config(None, ["model.encoder=pvt_v2_b0"]).model, n_classes=3)  # "learnt" since
    step = make_step(other, progress=0.9)
    own, frozen = (
        Lpd(load_config(None, ["model.encoder=pvt_v2_b0", f"loss.refiner={name}"])).losses(step).terms["similarity"]
        for name in ("own", "frozen")
    )
    again = Lpd(load_config(None, ["model.encoder=pvt_v2_b0", "loss.refiner=frozen"])).losses(step).terms["similarity"]
    assert float(own) != float(frozen)
    assert float(frozen) == float(again), "the frozen encoder must be the same after a resume"


def moments(*settings, total=50, per_epoch=12):
    """The steps at which prototypes are moved, and how many of the sure class's five."""
    config = load_config(None, ["model.encoder=pvt_v2_b0", *settings])
    torch.manual_seed(0)
    other = build_network(config.model, n_classes=3)
    step, method = make_step(other, progress=0.5), Lpd(config)
    with torch.no_grad():  # all prototypes of the sure class are one, but the last, which points away: dead
        other.prototypes.vectors[0] = other.prototypes.vectors[0, :1]
        other.prototypes.vectors[0, -1] *= -1
    found = {}
    for index in range(total):
        place = Place(index, total, per_epoch)
        if not method.rearranges(place):
            continue
        before = other.prototypes.vectors.detach().clone()
        told = method.rearrange(step, place)
        moved = (other.prototypes.vectors.detach() != before).any(dim=2)
        assert told == bool(moved.any())
        found[index] = int(moved[0].sum())
        with torch.no_grad():
            other.prototypes.vectors.copy_(before)
    return found


def test_prototypes__are_spread_when_the_warm_up_ends_and_revived_once_an_epoch():
    assert moments("loss.revive_below=0") == {10: 5}
    assert moments("loss.start=0.21", "loss.revive_below=0") == {11: 5}
    revived = moments("loss.spread=false", "loss.revive_below=0.5")
    assert set(revived) == {12, 24, 36, 48}
    assert all(revived.values())
    assert moments("loss.spread=false", "loss.revive_below=0") == {}
