"""How far scores would vary with other slides: percentile intervals over groups of images.

Patches of one slide resemble each other, so slides are resampled, not patches (Efron's percentile bootstrap,
clustered). The intervals say nothing about how another training run would score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from wsi_lpd.evaluation.metrics import ratio
from wsi_lpd.types import AnyArray, Int64Array

DRAWS: Final = 10_000
_TAILS: Final = (2.5, 97.5)
_WEIGHTS_AT_ONCE: Final = 1 << 22


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of the scores under one protocol; None where no draw had a score.

    Attributes:
        n_groups: Groups, of which as many are drawn with replacement.
        draws: Number of draws.
        seed: Of the random generator.
        miou: Of the mean IoU.
        mdice: Of the mean Dice.
        boundary_miou: Of the mean Boundary IoU.
        iou: Of each class's IoU, over the draws in which the class occurs.
    """

    n_groups: int
    draws: int
    seed: int
    miou: Interval | None
    mdice: Interval | None
    boundary_miou: Interval | None
    iou: dict[str, Interval | None]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "level": 0.95,
            "n_groups": self.n_groups,
            "draws": self.draws,
            "seed": self.seed,
            "miou": self.miou,
            "mdice": self.mdice,
            "boundary_miou": self.boundary_miou,
            "iou": self.iou,
        }


def resampled_intervals(
    counts: Int64Array,
    shared: Int64Array,
    either: Int64Array,
    groups: Sequence[str],
    classes: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Intervals | None:
    """Percentile intervals by drawing whole groups with replacement.

    Args:
        counts: (N, C + 1, C + 1) counted pixels of each image, rows truth, columns prediction, background first.
        shared: (N, C) pixels in the boundary band of both maps.
        either: (N, C) pixels in the band of one or both.
        groups: The group of each image.
        classes: C names.
        draws: Their number.
        seed: Of the random generator.

    Returns:
        None if there is only one group, as it does not show how much slides differ.
    """
    place = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    if len(place) < 2:
        return None
    member = np.array([place[group] for group in groups])
    hits = np.diagonal(counts, axis1=1, axis2=2)[:, 1:]
    truth, predicted = counts.sum(axis=2)[:, 1:], counts.sum(axis=1)[:, 1:]
    columns = np.concatenate([hits, truth + predicted, shared, either], axis=1)
    per_group = np.zeros((len(place), columns.shape[1]))
    np.add.at(per_group, member, columns)
    drawn = np.concatenate([weights @ per_group for weights in _weights(len(place), draws, seed)])
    hit, size, both, any_ = np.split(drawn, 4, axis=1)
    iou, dice, boundary = ratio(hit, size - hit), ratio(2 * hit, size), ratio(both, any_)
    return Intervals(
        n_groups=len(place),
        draws=draws,
        seed=seed,
        miou=_interval(_row_means(iou)),
        mdice=_interval(_row_means(dice)),
        boundary_miou=_interval(_row_means(boundary)),
        iou={name: _interval(iou[:, c]) for c, name in enumerate(classes)},
    )


def _weights(n_groups: int, draws: int, seed: int) -> Iterator[AnyArray]:
    """How often each group is drawn, (draws, G), a part of the draws at a time."""
    generator = np.random.default_rng(seed)
    share = np.full(n_groups, 1 / n_groups)
    step = max(1, _WEIGHTS_AT_ONCE // n_groups)
    for start in range(0, draws, step):
        yield generator.multinomial(n_groups, share, size=min(step, draws - start)).astype(float)


def _row_means(values: AnyArray) -> AnyArray:
    """Mean of each row over the values that are not NaN; NaN where there are none."""
    scored = ~np.isnan(values)
    return ratio(np.where(scored, values, 0).sum(axis=1), scored.sum(axis=1))


def _interval(values: AnyArray) -> Interval | None:
    scored = values[~np.isnan(values)]
    if not len(scored):
        return None
    low, high = np.percentile(scored, _TAILS)
    return Interval(float(low), float(high))
