"""Patches through the network, against one patch at a time and plain loops."""

from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from wsi_lpd.labels.sources import MaskSource, read_patches
from wsi_lpd.models.activation import pseudo_mask
from wsi_lpd.progress import Progress
from wsi_lpd.prototypes import collect as collecting
from wsi_lpd.prototypes.collect import choose_rows, class_pixels, collect, prototype_cosines

CPU = torch.device("cpu")


@pytest.fixture
def masked(table, tmp_path):
    """The table with a mask for patch 6: the first class upper right, the second in a lower strip, some left out."""
    mask = np.full((48, 48), 7, np.uint8)
    mask[:18, 22:] = 1
    mask[29:40] = 0
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), mask)
    masks = [None] * len(table)
    masks[6] = MaskSource(path, (1, 0))
    return replace(table, truth_masks=tuple(masks)), mask


def one_by_one(network, table, rows, config):
    """Similarities (C, K, h, w) and pseudo-mask members (C, h, w) of each patch."""
    for row in rows:
        image = torch.from_numpy(read_patches(table, [row])).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            output = network(image)
            mask = pseudo_mask(
                output.fused_maps,
                output.background,
                torch.from_numpy(table.labels[[row]]),
                confidence=config.loss.pseudo_confidence,
                margin=config.loss.pseudo_margin,
            )
            yield network.fused_similarity(output)[0].numpy(), mask[0].numpy()


def test_figures__equal_those_of_one_patch_at_a_time(network, table, config, monkeypatch):
    monkeypatch.setattr(collecting, "_BATCH_SIZE", 4)
    rows = [0, 2, 3, 5, 6, 7, 12, 13, 20]
    found = collect(network, table, rows, config=config.loss, n_examples=2, device=CPU)
    seen = list(one_by_one(network, table, rows, config))
    assert len(found) == 3
    for c, figures in enumerate(found):
        winners = [w for s, m in seen for w in s[c].argmax(axis=0)[m[c]]]
        assert figures.n_pixels == len(winners)
        assert figures.n_patches == sum(m[c].any() for _, m in seen)
        assert figures.wins.tolist() == np.bincount(winners, minlength=3).tolist()
    assert sum(figures.n_pixels for figures in found) > 100
    maps = {e.row: e.similarity for e in found[1].examples[2]}
    for row, similarity in maps.items():
        np.testing.assert_allclose(similarity, seen[rows.index(row)][0][1, 2], atol=1e-5)


def test_a_label_of_absence__keeps_a_patch_out(network, table, config):
    absent = np.flatnonzero(table.labels[:, 0] != 1).tolist()
    figures = collect(network, table, absent, config=config.loss, n_examples=2, device=CPU)[0]
    assert (figures.n_pixels, figures.n_patches) == (0, 0)


class Counter(Progress):
    def __init__(self):
        self.totals = []

    @contextmanager
    def stage(self, name, total, unit):
        self.totals.append(total)
        yield self.totals.append


def test_progress__is_told_of_every_patch(network, table, config, monkeypatch):
    monkeypatch.setattr(collecting, "_BATCH_SIZE", 2)
    counter = Counter()
    collect(network, table, [1, 4, 9], config=config.loss, n_examples=1, device=CPU, progress=counter)
    assert counter.totals == [3, 2, 1]


def test_a_mask__says_which_pixels_belong_to_a_class(network, masked, config):
    table, mask = masked
    images = torch.from_numpy(read_patches(table, [5, 6])).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        output = network(images)
        members = class_pixels(output, table, [5, 6], config.loss).numpy()
    height, width = members.shape[-2:]
    cell = 48 // height
    for c, value in enumerate((1, 0)):
        for y in range(height):
            for x in range(width):
                part = mask[y * cell : (y + 1) * cell, x * cell : (x + 1) * cell]
                assert members[1, c, y, x] == ((part == value).mean() > 0.5)
    assert members[1, :2].any(axis=(1, 2)).all()
    assert not members[1, 2].any()
    without = replace(table, truth_masks=None)
    with torch.inference_mode():
        pseudo = class_pixels(output, without, [5, 6], config.loss).numpy()
    np.testing.assert_array_equal(members[0], pseudo[0])
    assert (members[1] != pseudo[1]).any()


def test_cosines__against_a_loop(network):
    cosines = prototype_cosines(network)
    assert cosines.shape == (2, 3, 3, 3)
    for s in range(2):
        vectors = network.prototypes.projected(s).detach().double().numpy()
        for c in range(3):
            for i in range(3):
                for j in range(3):
                    a, b = vectors[c, i], vectors[c, j]
                    expected = (a @ b) / np.sqrt((a @ a) * (b @ b))
                    assert cosines[s, c, i, j] == pytest.approx(expected, abs=1e-6)


def test_fewer_patches_than_asked__are_all_that_can_hold_a_class(table):
    usable = np.flatnonzero((table.labels == 1).any(axis=1)).tolist()
    assert choose_rows(table, 10_000) == usable
    assert len(usable) < len(table)


def test_a_rare_class__gets_its_turn(table):
    rare = int(np.flatnonzero(table.labels[:, 2] == 1)[0])
    for count in (3, 5):
        rows = choose_rows(table, count)
        assert len(rows) == count
        assert rare in rows
        assert rows == sorted(set(rows))
        assert rows == choose_rows(table, count)


def test_a_patch_with_a_mask__is_looked_at_without_a_label(masked):
    table, _ = masked
    labels = table.labels.copy()
    labels[6] = -1
    unlabelled = replace(table, labels=labels)
    assert 6 in choose_rows(unlabelled, 10_000)
    assert 6 not in choose_rows(replace(unlabelled, truth_masks=None), 10_000)
