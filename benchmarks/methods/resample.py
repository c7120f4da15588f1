"""Means over seeds and their intervals: source groups and training seeds are both drawn with replacement.

Two rows with the same groups and seeds are subtracted draw by draw, so that both meet the same hard slides; the
interval of that difference decides whether one is ahead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.measuring.statistics import DRAWS, TAILS, Estimate
from wsi_lpd.evaluation.metrics import ratio
from wsi_lpd.types import AnyArray

METRICS: Final = ("miou_a", "mdice_a", "boundary_a", "miou_b")


@dataclass(frozen=True)
class SeededCounts:
    """Counts of one row under one gate.

    Attributes:
        seeds: S seeds.
        groups: G names of source groups.
        columns: (S, G, 4, 2, C): for protocol A (0) and B (1) of the last two axes' first: true positives, pixels of
            truth and prediction together, boundary pixels shared, boundary pixels in either.
    """

    seeds: tuple[int, ...]
    groups: tuple[str, ...]
    columns: AnyArray

    @classmethod
    def of_runs(cls, runs: Mapping[int, Mapping[str, Any]]) -> SeededCounts:
        """From what `one_run` wrote of one gate, by seed.

        Raises:
            ValueError: If the runs scored other groups.
        """
        per_seed = {seed: _per_group(runs[seed]["images"]) for seed in sorted(runs)}
        groups = {tuple(found) for found in per_seed.values()}
        if len(groups) != 1:
            raise ValueError(f"runs of one row scored other images: {sorted(groups)}")
        (names,) = groups
        stacked = [[found[name] for name in names] for found in per_seed.values()]
        return cls(tuple(per_seed), names, np.array(stacked, dtype=float))

    def only(self, seeds: Sequence[int]) -> SeededCounts:
        """The runs of some seeds."""
        places = [self.seeds.index(seed) for seed in seeds]
        return SeededCounts(tuple(seeds), self.groups, self.columns[places])

    def estimates(self, *, draws: int = DRAWS) -> dict[str, Estimate]:
        """Every metric of `METRICS`."""
        points, drawn = self._points(), self._drawn(draws)
        return {name: self._estimate(points[name], drawn[name]) for name in METRICS}

    def minus(self, other: SeededCounts, *, draws: int = DRAWS) -> dict[str, Estimate]:
        """Differences over the seeds that both have, of the same draws of groups and seeds.

        Raises:
            ValueError: If they share no seed, or scored other groups.
        """
        seeds = [seed for seed in self.seeds if seed in other.seeds]
        if not seeds or self.groups != other.groups:
            raise ValueError("two rows can be compared where they share groups and at least one seed")
        ours, theirs = self.only(seeds), other.only(seeds)
        (points, drawn), (points_2, drawn_2) = ((x._points(), x._drawn(draws)) for x in (ours, theirs))
        return {name: ours._estimate(points[name] - points_2[name], drawn[name] - drawn_2[name]) for name in METRICS}

    def _points(self) -> dict[str, float]:
        scores = metrics_of(self.columns.sum(axis=1))
        return {name: _mean(scores[name][:, None], np.ones((1, len(self.seeds)))).item() for name in METRICS}

    def _drawn(self, draws: int) -> dict[str, AnyArray]:
        """(draws,) of each metric; equal numbers of groups and seeds give equal draws."""
        generator = np.random.default_rng(0)
        of_groups, of_seeds = (
            generator.multinomial(n, np.full(n, 1 / n), size=draws).astype(float)
            for n in (len(self.groups), len(self.seeds))
        )
        per_seed = [metrics_of(np.tensordot(of_groups, found, axes=(1, 0))) for found in self.columns]
        return {name: _mean(np.stack([scores[name] for scores in per_seed]), of_seeds) for name in METRICS}

    def _estimate(self, point: float, drawn: AnyArray) -> Estimate:
        scored = drawn[~np.isnan(drawn)]
        if not len(scored) or (len(self.groups) == 1 and len(self.seeds) == 1):
            return Estimate(point, None, None)
        low, high = np.percentile(scored, TAILS)
        return Estimate(point, float(low), float(high))


def metrics_of(columns: AnyArray) -> dict[str, AnyArray]:
    """Scores of summed counts.

    Args:
        columns: (N, 4, 2, C), as in `SeededCounts`.

    Returns:
        (N,) each; classes that occur nowhere are in no mean.
    """
    hits, sizes, shared, either = np.moveaxis(columns, 1, 0)
    iou, dice, boundary = ratio(hits, sizes - hits), ratio(2 * hits, sizes), ratio(shared, either)
    return {
        "miou_a": _mean_of_scored(iou[:, 0]),
        "mdice_a": _mean_of_scored(dice[:, 0]),
        "boundary_a": _mean_of_scored(boundary[:, 0]),
        "miou_b": _mean_of_scored(iou[:, 1]),
    }


def _per_group(images: Sequence[Mapping[str, Any]]) -> dict[str, AnyArray]:
    summed: dict[str, AnyArray] = {}
    for image in sorted(images, key=lambda image: (image["group"], image["name"])):
        columns = _columns(image)
        summed[image["group"]] = summed.get(image["group"], np.zeros_like(columns)) + columns
    return summed


def _columns(image: Mapping[str, Any]) -> AnyArray:
    """(4, 2, C) of one image."""
    whole = np.array(image["counts"])
    tissue = whole.copy()
    tissue[0] = 0
    hits = [counts.diagonal()[1:] for counts in (tissue, whole)]
    sizes = [counts.sum(axis=0)[1:] + counts.sum(axis=1)[1:] for counts in (tissue, whole)]
    return np.array([hits, sizes, image["boundary_shared"], image["boundary_either"]], dtype=float)


def _mean_of_scored(values: AnyArray) -> AnyArray:
    scored = ~np.isnan(values)
    return ratio(np.where(scored, values, 0).sum(axis=1), scored.sum(axis=1))


def _mean(per_seed: AnyArray, weights: AnyArray) -> AnyArray:
    """Weighted mean over seeds of (S, N), weights (N, S); NaN where a draw has no score."""
    scored = ~np.isnan(per_seed)
    return ratio((np.where(scored, per_seed, 0) * weights.T).sum(axis=0), (scored * weights.T).sum(axis=0))
