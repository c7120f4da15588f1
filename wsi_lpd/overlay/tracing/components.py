"""4-connected components of a label map, all labels at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wsi_lpd.types import AnyArray, Int64Array, UInt8Array


class Components(NamedTuple):
    """Components in raster order of their first pixel.

    Attributes:
        labels: Label of each, uint8 (N,).
        areas_px: Pixels of each, int64 (N,).
        first: Flat index of the first pixel of each, int64 (N,).
        of_run: Component of each run, int32 (R,); a run is a stretch of one label in one row.
        run_lengths: Pixels of each run (R,).
        shape: Height and width of the map.
    """

    labels: UInt8Array
    areas_px: Int64Array
    first: Int64Array
    of_run: NDArray[np.int32]
    run_lengths: Int64Array
    shape: tuple[int, int]

    def painted(self, values: AnyArray) -> AnyArray:
        """An image (H, W) that shows for every component its entry of `values` (N,)."""
        return np.repeat(values[self.of_run], self.run_lengths).reshape(self.shape)

    def in_row(self, row: int) -> NDArray[np.int32]:
        """The components with pixels in a row; may contain duplicates."""
        width = self.shape[1]
        start = row % self.shape[0] * width
        ends = np.cumsum(self.run_lengths)
        return self.of_run[(ends > start) & (ends - self.run_lengths < start + width)]


def label_components(label_map: UInt8Array) -> Components:
    """Numbers the 4-connected components of every value of `label_map` (H, W), 0 and 255 included.

    Works on runs, which are far fewer than pixels: a run is linked to every run of the same value that it touches in
    the next row.
    """
    starts = np.ones(label_map.shape, dtype=bool)
    np.not_equal(label_map[:, 1:], label_map[:, :-1], out=starts[:, 1:])
    first = np.flatnonzero(starts)
    lengths = np.diff(first, append=label_map.size)
    of_run = _raster_order(_linked_runs(label_map, starts, first))
    first_of_component = first[_first_occurrence(of_run)]
    return Components(
        labels=label_map.reshape(-1)[first_of_component],
        areas_px=np.bincount(of_run, weights=lengths).astype(np.int64),
        first=first_of_component,
        of_run=of_run,
        run_lengths=lengths,
        shape=(label_map.shape[0], label_map.shape[1]),
    )


def _linked_runs(label_map: UInt8Array, starts: NDArray[np.bool_], first: Int64Array) -> NDArray[np.int32]:
    # Where two runs of neighbouring rows begin to overlap, one of the two starts.
    touching = (starts[:-1] | starts[1:]) & (label_map[:-1] == label_map[1:])
    upper_px = np.flatnonzero(touching)
    upper = np.searchsorted(first, upper_px, side="right") - 1
    lower = np.searchsorted(first, upper_px + label_map.shape[1], side="right") - 1
    links = coo_matrix((np.ones(len(upper), dtype=np.int8), (upper, lower)), shape=(len(first), len(first)))
    _, component_of_run = connected_components(links.tocsr(), directed=False)
    return component_of_run.astype(np.int32, copy=False)


def _first_occurrence(numbers: NDArray[np.int32]) -> Int64Array:
    first = np.empty(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]  # the last assignment stays, which is the first occurrence
    return first


def _raster_order(component_of_run: NDArray[np.int32]) -> NDArray[np.int32]:
    rank = np.empty(int(component_of_run.max(initial=-1)) + 1, dtype=np.int32)
    rank[np.argsort(_first_occurrence(component_of_run))] = np.arange(len(rank), dtype=np.int32)
    return rank[component_of_run]
