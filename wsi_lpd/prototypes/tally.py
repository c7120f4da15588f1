"""Running statistics of the prototypes of one class; memory does not grow with the number of patches."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from wsi_lpd.types import BoolArray, Float32Array, Float64Array, Int64Array

STRONG_SHARE = 0.05
"""The strongest pixels are this share of a class's pixels, or of one patch's."""

_BIN_WIDTH = 0.0005
_N_BINS = round(2 / _BIN_WIDTH)
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Example:
    """A patch that activates a prototype strongly."""

    row: int
    """Row of the label table."""
    strength: float
    """Result of `patch_strength`."""
    similarity: Float32Array
    """Similarity at every position of the patch, (h, w)."""


@dataclass(frozen=True)
class ClassFigures:
    """Statistics of one class and its K prototypes."""

    n_patches: int
    """Patches with at least one pixel of the class."""
    n_pixels: int
    """Positions of the fused maps that belong to the class."""
    wins: Int64Array
    """Pixels for which each prototype is the best of its class, (K,)."""
    strong: Float64Array
    """Least similarity among the strongest `STRONG_SHARE` of the class's pixels, (K,); NaN without pixels."""
    correlation: Float64Array
    """Pearson's correlation of the prototypes' maps over the class's pixels, (K, K); NaN where a map is constant."""
    examples: tuple[tuple[Example, ...], ...]
    """For each prototype the patches it responds to most strongly, best first."""

    @property
    def usage(self) -> Float64Array | None:
        """Share of the class's pixels for which each prototype is the best, (K,), summing to 1; None without pixels."""
        return None if self.n_pixels == 0 else self.wins / self.n_pixels

    @property
    def coverage(self) -> float | None:
        """Share of the class's pixels whose best prototype is not the most used one; None without pixels."""
        return None if self.n_pixels == 0 else 1 - float(self.wins.max()) / self.n_pixels


def patch_strength(values: Float64Array, n_positions: int) -> Float64Array:
    """How strongly a patch activates prototypes: the mean over the strongest of its pixels of the class.

    The single highest value would pick patches for a speck at their border.

    Args:
        values: Similarities at the patch's pixels of the class, (K, n).
        n_positions: Positions of the whole patch; `STRONG_SHARE` of them are averaged, or all n if those are fewer.

    Returns:
        (K,).
    """
    n_strongest = min(values.shape[1], math.ceil(STRONG_SHARE * n_positions))
    strongest: Float64Array = np.partition(values, -n_strongest, axis=1)[:, -n_strongest:]
    return np.asarray(strongest.mean(axis=1), dtype=np.float64)


class ClassTally:
    """Counts pixels of one class, patch by patch."""

    def __init__(self, n_prototypes: int, *, n_examples: int) -> None:
        self._n_examples = n_examples
        self._n_patches = 0
        self._n_pixels = 0
        self._wins = np.zeros(n_prototypes, np.int64)
        self._histogram = np.zeros((n_prototypes, _N_BINS), np.int64)
        self._sum = np.zeros(n_prototypes)
        self._products = np.zeros((n_prototypes, n_prototypes))
        # Between equals the negative row decides: the earlier patch is kept.
        self._best: list[list[tuple[float, int, Example]]] = [[] for _ in range(n_prototypes)]

    def add(self, row: int, similarity: Float32Array, members: BoolArray) -> None:
        """Counts one patch.

        Args:
            row: Row of the label table; counted once at most.
            similarity: Cosines, (K, h, w).
            members: Positions that belong to the class, (h, w).
        """
        values = similarity[:, members].astype(np.float64)
        n_pixels = values.shape[1]
        if n_pixels == 0:
            return
        self._n_patches += 1
        self._n_pixels += n_pixels
        self._wins += np.bincount(values.argmax(axis=0), minlength=len(values))
        bins = np.clip(((values + 1) / _BIN_WIDTH).astype(np.int64), 0, _N_BINS - 1)
        for k, own in enumerate(bins):
            self._histogram[k] += np.bincount(own, minlength=_N_BINS)
        self._sum += values.sum(axis=1)
        self._products += values @ values.T
        for k, strength in enumerate(patch_strength(values, members.size).tolist()):
            self._offer(k, row, strength, similarity[k])

    def figures(self) -> ClassFigures:
        """The statistics of all patches so far."""
        return ClassFigures(
            n_patches=self._n_patches,
            n_pixels=self._n_pixels,
            wins=self._wins.copy(),
            strong=self._strong(),
            correlation=self._correlation(),
            examples=tuple(tuple(example for _, _, example in sorted(heap, reverse=True)) for heap in self._best),
        )

    def _offer(self, k: int, row: int, strength: float, similarity: Float32Array) -> None:
        heap = self._best[k]
        if len(heap) < self._n_examples:
            heapq.heappush(heap, (strength, -row, Example(row, strength, similarity.copy())))
        elif self._n_examples > 0 and (strength, -row) > heap[0][:2]:
            heapq.heapreplace(heap, (strength, -row, Example(row, strength, similarity.copy())))

    def _strong(self) -> Float64Array:
        """Quantiles from the histograms, exact to a bin's width."""
        if self._n_pixels == 0:
            return np.full(len(self._wins), np.nan)
        below = np.cumsum(self._histogram, axis=1)
        first = (below >= (1 - STRONG_SHARE) * self._n_pixels).argmax(axis=1)
        return np.asarray(first * _BIN_WIDTH - 1, dtype=np.float64)

    def _correlation(self) -> Float64Array:
        if self._n_pixels == 0:
            return np.full_like(self._products, np.nan)
        mean = self._sum / self._n_pixels
        covariance = self._products / self._n_pixels - np.outer(mean, mean)
        spread = np.sqrt(np.clip(np.diag(covariance), 0, None))
        spread = np.where(spread > _LEAST_SPREAD, spread, np.nan)
        return np.asarray(np.clip(covariance / np.outer(spread, spread), -1, 1), dtype=np.float64)
