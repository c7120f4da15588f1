"""Order of patches: a pure function of seed and epoch, and what a resumed run still has to see."""

import numpy as np
import pytest
import torch

from wsi_lpd.errors import TrainingError
from wsi_lpd.train.data import epoch_batches, ordered_batches, split_by_group, training_batches


def test_an_epoch__shows_every_patch_at_most_once_and_differs_from_the_next():
    first, second = (epoch_batches(23, 4, seed=1, epoch=e) for e in (0, 1))
    flat = [i for batch in first for i in batch]
    assert len(flat) == len(set(flat)) == 20
    assert first != second
    assert first == epoch_batches(23, 4, seed=1, epoch=0)
    assert first != epoch_batches(23, 4, seed=2, epoch=0)


def test_fewer_patches_than_a_batch__make_one_batch():
    assert sorted(epoch_batches(3, 8, seed=0, epoch=0)[0]) == [0, 1, 2]


@pytest.mark.parametrize("first", [0, 1, 5, 6, 9])
def test_a_resumed_run__sees_what_was_left(table, first):
    def batches(a):
        return list(training_batches(table, batch_size=4, seed=3, workers=0, first=a, last=12))

    rest, everything = batches(first), batches(0)
    assert len(rest) == 12 - first
    for got, expected in zip(rest, everything[first:], strict=True):
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])


def test_worker_processes__give_the_same_batches(table):
    a, b = (list(ordered_batches(table, batch_size=5, workers=w)) for w in (0, 2))
    assert [len(x) for x, _ in a] == [5, 5, 5, 5, 2]
    assert all(torch.equal(x[0], y[0]) and torch.equal(x[1], y[1]) for x, y in zip(a, b, strict=True))


def test_batches__carry_the_rows_labels(table):
    labels = torch.cat([labels for _, labels in ordered_batches(table, batch_size=7, workers=0)])
    np.testing.assert_array_equal(labels.numpy(), table.labels)


def test_a_split__never_tears_a_slide_apart(table):
    training, validation = split_by_group(table, fraction=0.3, seed=4)
    assert not set(training.groups) & set(validation.groups)
    assert len(training) + len(validation) == len(table)
    assert len(validation) >= 0.3 * len(table)
    again = split_by_group(table, fraction=0.3, seed=4)[1]
    assert again.sources == validation.sources


def test_a_split_of_one_slide__is_by_patch(table):
    one = table.subset([i for i, g in enumerate(table.groups) if g == "slide-0"])
    training, validation = split_by_group(one, fraction=0.5, seed=0)
    assert len(training) + len(validation) == len(one)
    with pytest.raises(TrainingError, match="too few to hold out"):
        split_by_group(one.subset([0]), fraction=0.5, seed=0)


def test_no_split__keeps_all(table):
    training, validation = split_by_group(table, fraction=0, seed=0)
    assert len(training) == len(table)
    assert validation is None
