"""Which patches are held out for validation."""

from __future__ import annotations

import numpy as np

from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.types import BoolArray


def split_by_group(table: LabelTable, *, fraction: float, seed: int) -> tuple[LabelTable, LabelTable | None]:
    """Holds out whole slides (or single patches where there is only one slide) for validation.

    As near to `fraction` of the patches as slides drawn at random come. A slide that alone holds a class stays in
    training: a class without a patch to learn from is worse than one without a patch to be checked on.

    Returns:
        Training and validation tables; the second is None where `fraction` is 0.

    Raises:
        TrainingError: If there are too few patches to hold some out.
    """
    if fraction == 0:
        return table, None
    generator = np.random.default_rng(seed)
    if len(set(table.groups)) == 1:
        held_out = generator.random(len(table)) < fraction
    else:
        held_out = _slides_to_hold_out(table, fraction, generator)
    if held_out.all() or not held_out.any():
        raise TrainingError(
            f"{len(table)} patches are too few to hold out {fraction:.0%} for validation; "
            "give more, or --val, or --set train.val_fraction=0"
        )
    return table.subset(np.flatnonzero(~held_out)), table.subset(np.flatnonzero(held_out))


def _slides_to_hold_out(table: LabelTable, fraction: float, generator: np.random.Generator) -> BoolArray:
    """Which patches (N,) are of slides to be held out."""
    groups, wanted = np.array(table.groups), fraction * len(table)
    slides = generator.permutation(sorted(set(table.groups)))
    held_out = np.zeros(len(table), dtype=bool)
    for slide in slides:
        more = held_out | (groups == slide)
        if abs(more.sum() - wanted) < abs(held_out.sum() - wanted) and not _loses_a_class(table, more):
            held_out = more
    if held_out.any():
        return held_out
    # every slide is more than twice as large as wanted, or alone with a class
    patches_of = [groups == slide for slide in slides]
    return min(patches_of, key=lambda patches: (_loses_a_class(table, patches), patches.sum()))


def _loses_a_class(table: LabelTable, held_out: BoolArray) -> bool:
    """Whether a class of the table has no positive patch outside `held_out`, (N,)."""
    is_positive = table.labels == 1
    return bool((is_positive.any(axis=0) & ~is_positive[~held_out].any(axis=0)).any())
