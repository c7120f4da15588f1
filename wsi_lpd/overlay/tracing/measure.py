"""Measurements of regions, shown in QuPath's measurement table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_lpd.overlay.raster.strips import NO_PROTOTYPE
from wsi_lpd.types import AnyArray, Int64Array, UInt8Array


@dataclass(frozen=True)
class Tally:
    """Counts over the pixels of N regions; integers, so that the pieces of a region add up exactly.

    Attributes:
        areas_px: Label-map pixels of each, int64 (N,).
        probabilities: Sums of the probabilities (255 = 1.0), int64 (N, C + 1), background first.
        prototypes: Number of pixels that match each prototype best, int64 (N, P).
    """

    areas_px: Int64Array
    probabilities: Int64Array
    prototypes: Int64Array

    def __len__(self) -> int:
        return len(self.areas_px)

    def of(self, chosen: AnyArray | slice) -> Tally:
        """The tally of some regions, selected by mask or index."""
        return self._each(lambda column: column[chosen])

    def followed_by(self, other: Tally) -> Tally:
        """The regions of both, one after the other."""
        return Tally(*map(_stacked, self._columns(), other._columns()))

    def summed(self, group: AnyArray, n_groups: int) -> Tally:
        """Sums over the regions of each group; `group` (N,) is the group of each region."""
        return self._each(lambda column: _summed(column, group, n_groups))

    def _columns(self) -> tuple[Int64Array, Int64Array, Int64Array]:
        return self.areas_px, self.probabilities, self.prototypes

    def _each(self, change: Callable[[Int64Array], Int64Array]) -> Tally:
        return Tally(*map(change, self._columns()))


def _stacked(a: Int64Array, b: Int64Array) -> Int64Array:
    if a.ndim == 2 and a.shape[1] != b.shape[1]:  # one of them lacks columns of prototypes that it never matched
        columns = max(a.shape[1], b.shape[1])
        a, b = (np.pad(part, ((0, 0), (0, columns - part.shape[1]))) for part in (a, b))
    return np.concatenate([a, b])


def _summed(column: Int64Array, group: AnyArray, n_groups: int) -> Int64Array:
    total = np.zeros((n_groups, *column.shape[1:]), dtype=np.int64)
    np.add.at(total, group, column)
    return total


def tally_pixels(
    components: NDArray[np.int32], n_regions: int, *, probabilities: UInt8Array, prototypes: UInt8Array
) -> Tally:
    """Counts over the pixels of each region.

    Args:
        components: int32 (H, W): 0 where there is no region, i + 1 where region i lies.
        n_regions: Number of regions.
        probabilities: uint8 (C + 1, H, W), 255 = 1.0: background first, then the classes.
        prototypes: uint8 (H, W): best-matching prototype of the pixel's class, counted from 0, or `NO_PROTOTYPE`.
    """
    owner_of_pixel, winner_of_pixel = components.reshape(-1), prototypes.reshape(-1)
    starts = _run_starts(owner_of_pixel)
    owner, lengths = owner_of_pixel[starts], np.diff(starts, append=components.size)
    areas_px = _totals(owner, lengths, n_regions)
    sums = np.zeros((n_regions, len(probabilities)), np.int64)
    for column, plane in zip(sums.T, probabilities, strict=True):
        column[:] = _totals(owner, np.add.reduceat(plane.reshape(-1), starts, dtype=np.int64), n_regions)
    starts = _run_starts(owner_of_pixel, winner_of_pixel)
    owner, winner = owner_of_pixel[starts].astype(np.int64), winner_of_pixel[starts]
    has_prototype = (winner != NO_PROTOTYPE) & (owner > 0)
    lengths = np.diff(starts, append=components.size)[has_prototype]
    n_prototypes = int(winner[has_prototype].max(initial=0)) + 1
    pair = (owner[has_prototype] - 1) * n_prototypes + winner[has_prototype]
    counts = np.bincount(pair, lengths, n_regions * n_prototypes).astype(np.int64)
    return Tally(areas_px, sums, counts.reshape(n_regions, n_prototypes))


def _run_starts(*images: AnyArray) -> Int64Array:
    """0 and the indices at which any of the flat images (N,) changes."""
    changes = np.zeros(len(images[0]), dtype=bool)
    changes[:1] = True
    for image in images:
        changes[1:] |= image[1:] != image[:-1]
    return np.flatnonzero(changes)


def _totals(owner: AnyArray, amounts: Int64Array, n_regions: int) -> Int64Array:
    """Sums of `amounts` of runs per region; `owner` is the region's index + 1, or 0."""
    return np.bincount(owner, amounts, n_regions + 1)[1:].astype(np.int64)


def measurements(
    tally: Tally, labels: UInt8Array, *, pixel_area_um2: float, class_names: Sequence[str]
) -> list[dict[str, float]]:
    """The measurements of N regions as QuPath shows them.

    Args:
        tally: Counts over the pixels of the regions.
        labels: Label of each (N,).
        pixel_area_um2: Area of a label-map pixel.
        class_names: Names of the C classes.

    Returns:
        Per region: `Predicted area um2`; `Mean probability` of its own class and `Mean probability <class>` of each;
        `Dominant prototype` (counted from 1; nan where no pixel has one) and `Dominant prototype share`.
    """
    means = np.round(tally.probabilities / (255 * tally.areas_px[:, None]), 4)
    most = tally.prototypes.max(axis=1)
    columns: dict[str, AnyArray] = {
        "Predicted area um2": tally.areas_px * pixel_area_um2,
        "Mean probability": means[np.arange(len(tally)), labels],
        **{f"Mean probability {name}": mean for name, mean in zip(class_names, means.T[1:], strict=True)},
        "Dominant prototype": np.where(most > 0, tally.prototypes.argmax(axis=1) + 1.0, np.nan),
        "Dominant prototype share": np.round(most / tally.areas_px, 4),
    }
    rows: Any = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]
