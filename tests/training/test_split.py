"""What is held out for validation: whole slides, about as many patches as asked for, and no class's only slide."""

from pathlib import Path

import numpy as np
import pytest

from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.table import LabelTable, PatchSource
from wsi_lpd.training.data.split import split_by_group

SIZES = {"a": 7, "b": 11, "c": 4, "d": 9, "e": 5, "f": 60, "g": 8, "h": 6}


def cohort(sizes, only=None):
    """A table of slides with so many patches; class 1 is present nowhere but on the slides `only`."""
    groups = [name for name, n in sizes.items() for _ in range(n)]
    labels = np.ones((len(groups), 3), dtype=np.int8)
    labels[::3, 2] = 0
    labels[:, 1] = [only is None or name in only for name in groups]
    sources = tuple(PatchSource(Path(f"{name}-{i}.png"), None) for i, name in enumerate(groups))
    return LabelTable(("tumour", "necrosis", "stroma"), labels, sources, tuple(groups))


@pytest.mark.parametrize("seed", range(8))
def test_a_split__never_tears_a_slide_apart_and_is_the_seeds(seed):
    table = cohort(SIZES)
    training, validation = split_by_group(table, fraction=0.3, seed=seed)
    assert not set(training.groups) & set(validation.groups)
    assert len(training) + len(validation) == len(table)
    assert split_by_group(table, fraction=0.3, seed=seed)[1].sources == validation.sources


def test_splits_of_other_seeds__hold_out_other_slides():
    table = cohort(SIZES)
    assert len({frozenset(split_by_group(table, fraction=0.3, seed=seed)[1].groups) for seed in range(8)}) > 3


@pytest.mark.parametrize("seed", range(12))
def test_a_slide_with_more_than_half_of_all_patches__is_not_held_out_for_a_sixth(seed):
    table = cohort(SIZES)
    _, validation = split_by_group(table, fraction=0.15, seed=seed)
    assert "f" not in validation.groups
    assert abs(len(validation) - 0.15 * len(table)) <= min(SIZES.values())


@pytest.mark.parametrize("seed", range(12))
def test_the_only_slide_with_a_class__stays_in_training(seed):
    training, _ = split_by_group(cohort(SIZES, only="c"), fraction=0.4, seed=seed)
    assert "c" in training.groups


@pytest.mark.parametrize("seed", range(12))
def test_the_only_two_slides_with_a_class__are_not_both_held_out(seed):
    training, _ = split_by_group(cohort(SIZES, only="ch"), fraction=0.4, seed=seed)
    assert {"c", "h"} & set(training.groups)


def test_slides_that_are_all_too_large__lend_their_smallest():
    training, validation = split_by_group(cohort({"a": 30, "b": 20, "c": 40}), fraction=0.1, seed=0)
    assert set(validation.groups) == {"b"}
    assert len(training) == 70


def test_slides_that_are_all_too_large__lend_the_smallest_that_is_not_alone_with_a_class():
    _, validation = split_by_group(cohort({"a": 30, "b": 20, "c": 40}, only="b"), fraction=0.1, seed=0)
    assert set(validation.groups) == {"a"}


def test_a_class_that_nobody_has__is_no_hindrance():
    _, validation = split_by_group(cohort(SIZES, only=""), fraction=0.3, seed=0)
    assert len(validation) > 0


def test_a_split_of_one_slide__is_by_patch():
    one = cohort({"a": 21})
    training, validation = split_by_group(one, fraction=0.5, seed=0)
    assert len(training) + len(validation) == len(one)
    with pytest.raises(TrainingError, match="too few to hold out"):
        split_by_group(one.subset([0]), fraction=0.5, seed=0)


def test_no_split__keeps_all():
    table = cohort(SIZES)
    training, validation = split_by_group(table, fraction=0, seed=0)
    assert len(training) == len(table)
    assert validation is None
