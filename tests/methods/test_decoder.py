"""The second stage's targets: pseudo masks, and mosaics of patches that hold one class."""

from __future__ import annotations

import pytest
import torch

from wsi_lpd.config import DecoderConfig, load_config
from wsi_lpd.methods.base import Step
from wsi_lpd.methods.decoder.loss import Decoder, curved, exact_masks, quartered, single_class_rows
from wsi_lpd.models.network import NetworkOutput
from wsi_lpd.models.saved.load import network_for
from wsi_lpd.types import IGNORE

SIDE = 48


def pictures(count):
    """Every pixel says which patch it is of, and where it lay."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return torch.stack([torch.stack([torch.full((SIDE, SIDE), i), y, x]) for i in range(count)]).float()


def step_of(images, labels, masks, confidence, seen):
    def student(shown):
        seen.append(shown)
        zeros = torch.zeros((len(shown), 3, SIDE // 4, SIDE // 4), requires_grad=True)
        return NetworkOutput([], [], [zeros], [], zeros, zeros.mean((2, 3)), zeros[:, :1])

    return Step(
        images=images, clean=torch.full_like(images, 0.5), labels=labels, positive_weights=torch.ones(3), progress=0.5,
        network=None, student=student, teacher=student, masks=masks, confidence=confidence,
    )  # fmt: skip


def test_a_patch_of_one_class__must_be_known_to_hold_no_other():
    labels = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 1, -1], [0, 0, 0], [1, 0, 0]])
    assert single_class_rows(labels).tolist() == [0, 4]


def test_exact_masks__are_the_class_but_for_glass():
    images = torch.full((2, 3, SIDE, SIDE + 16), 0.5)
    images[1, :, :, :40] = 0.97  # bright, colourless and wide
    masks = exact_masks(images, torch.tensor([[0, 0, 1], [0, 1, 0]]))
    assert masks[0].unique().tolist() == [3]
    assert (masks[1, :, :36] == 0).all()
    assert (masks[1, :, 44:] == 2).all()


@pytest.mark.parametrize("side", [SIDE, SIDE - 1])
def test_a_mosaic__is_four_whole_pieces_of_the_patches_named(side):
    torch.manual_seed(3)
    images = pictures(5)[..., :side, :side]
    masks = (images[:, 0] + 1).to(torch.uint8)
    made, targets = quartered(images, masks, torch.tensor([1, 4]), 20)
    half = side // 2
    assert made.shape == (20, 3, side, side)
    assert set(made[:, 0].unique().tolist()) == {1, 4}
    torch.testing.assert_close(targets.float(), made[:, 0] + 1)
    for rows in (slice(0, half), slice(half, side)):
        for columns in (slice(0, half), slice(half, side)):
            piece = made[:, :, rows, columns]
            assert (piece[:, 0] == piece[:, 0, :1, :1]).all()
            assert (piece[:, 1].diff(dim=1) == 1).all()
            assert (piece[:, 2].diff(dim=2) == 1).all()
    assert made[:, 1, 0, 0].unique().numel() > 5  # drawn anew each time
    mixed = (made[:, 0, :half, :half].amax((1, 2)) != made[:, 0, half:, half:].amax((1, 2))).float().mean()
    assert 0.2 < mixed < 0.8


@pytest.mark.parametrize("side", [SIDE, SIDE - 1])
def test_a_curved_mosaic__is_pieces_that_stay_where_they_were(side):
    torch.manual_seed(5)
    images = pictures(6)[..., :side, :side]
    masks = (images[:, 0] + 1).to(torch.uint8)
    made, targets = curved(images, masks, torch.tensor([0, 2, 5]), 30)
    assert made.shape == (30, 3, side, side)
    assert set(made[:, 0].unique().tolist()) == {0, 2, 5}
    torch.testing.assert_close(targets.float(), made[:, 0] + 1)
    torch.testing.assert_close(made[:, 1:], images[:1, 1:].expand(30, 2, side, side))
    mixed = made[(made[:, 0] != made[:, 0, :1, :1]).any(dim=(1, 2)), 0]
    assert 15 < len(mixed) < 30  # the rest drew one patch alone
    pieces = (mixed.diff(dim=2) != 0).float().mean()
    assert 1 / side < pieces < 5 / side  # some outlines in a row of pixels, not specks
    crossings = [(one.diff(dim=1) != 0).nonzero()[:, 1] for one in mixed]
    assert sum(c.unique().numel() > side / 8 for c in crossings) > len(mixed) / 2  # they lie elsewhere in every row


@pytest.mark.parametrize(("mosaic", "moved"), [("quarters", True), ("curved", False)])
def test_the_mosaics__are_of_the_kind_asked_for(mosaic, moved):
    images, seen = pictures(6), []
    masks = torch.full((6, 1, SIDE, SIDE), IGNORE, dtype=torch.uint8)
    step = step_of(images, torch.eye(3).repeat(2, 1), masks, torch.ones(6, SIDE, SIDE), seen)
    Decoder(DecoderConfig(single_label=1, mosaic=mosaic), (1.0,)).losses(step)
    assert torch.equal(seen[0][:, 1:], images[:, 1:]) != moved


def test_the_loss__is_the_weighted_sum_over_the_masks_of_a_patch():
    labels, masks = torch.tensor([[1, 1, 0]]), torch.full((1, 2, SIDE, SIDE), IGNORE, dtype=torch.uint8)
    masks[:, 0, :, :12] = 1
    masks[:, 1, :, :12] = 2
    confidence = torch.full((1, SIDE, SIDE), 0.25)
    step = step_of(torch.rand(1, 3, SIDE, SIDE), labels, masks, confidence, [])
    config = DecoderConfig(loss="generalized", exponent=1.0, single_label=0)
    # All logits are 0, so that every value has a quarter: a pixel costs 3/4.
    assert Decoder(config, (0.6, 0.2)).losses(step).total.item() == pytest.approx(0.8 * 0.75 * 0.25)
    unweighted = config.model_copy(update={"weighted": False})
    assert Decoder(unweighted, (0.6, 0.2)).losses(step).total.item() == pytest.approx(0.8 * 0.75)


def test_mosaics__take_the_place_of_patches_of_one_class_alone():
    images = pictures(8)
    labels = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 1, 0], [0, 1, 1], [1, -1, 0], [1, 1, 1]])
    masks = torch.full((8, 1, SIDE, SIDE), IGNORE, dtype=torch.uint8)
    seen = []
    step = step_of(images, labels, masks, torch.ones(8, SIDE, SIDE), seen)
    torch.manual_seed(1)
    losses = Decoder(DecoderConfig(single_label=0.5, loss="cross-entropy"), (1.0,)).losses(step)
    changed = [i for i in range(8) if not torch.equal(seen[0][i], images[i])]
    assert len(changed) == 2
    assert set(changed) < {0, 1, 2, 3}
    assert set(seen[0][changed][:, 0].unique().tolist()) <= {0, 1, 2, 3}
    torch.testing.assert_close(images, pictures(8))  # what the step holds is left alone
    assert losses.total.item() == pytest.approx(torch.tensor(4.0).log().item())  # only the mosaics are judged
    Decoder(DecoderConfig(single_label=0), (1.0,)).losses(step)
    torch.testing.assert_close(seen[1], images)


@pytest.mark.parametrize(("head", "steps", "share"), [("segformer", 20, 0.4), ("mask2former", 5, 0.9)])
def test_a_decoder__learns_what_masks_say(head, steps, share):
    if head == "mask2former":
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    width = ["decoder.width=32", "decoder.dropout=0"]
    network = network_for(load_config(None, ["method=decoder", f"decoder.head={head}", *width]), n_classes=2)
    images = torch.rand(4, 3, 32, 32) * 0.2
    images[:, 0, :, 16:] += 0.7
    masks = torch.ones((4, 1, 32, 32), dtype=torch.uint8)
    masks[..., 16:] = 2
    method = Decoder(DecoderConfig(single_label=0, loss="cross-entropy"), (1.0,))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3 if head == "mask2former" else 3e-3)
    values = []
    for _ in range(steps):
        step = step_of(images, torch.ones(4, 2), masks, torch.ones(4, 32, 32), [])
        step = Step(**{**vars(step), "student": network})
        loss = method.losses(step).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < share * values[0]
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
