"""4-connected components of a label map, all labels at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from wsi_lpd.types import Int64Array, UInt8Array


class Components(NamedTuple):
    """Components in raster order of their first pixel.

    `image` int32 (H, W) holds the component's number, `labels` uint8 (N,) its label, `areas_px` int64 (N,) its
    pixels, `first` int64 (N,) the flat index of its first pixel.
    """

    image: NDArray[np.int32]
    labels: UInt8Array
    areas_px: Int64Array
    first: Int64Array


def label_components(label_map: UInt8Array) -> Components:
    """Numbers the 4-connected components of every value of `label_map` (H, W), 0 and 255 included.

    Works on runs (stretches of one value in a row), of which a label map has far fewer than pixels: a run is
    linked to each run of the same value that it touches in the next row.
    """
    starts = np.ones(label_map.shape, dtype=bool)
    np.not_equal(label_map[:, 1:], label_map[:, :-1], out=starts[:, 1:])
    first = np.flatnonzero(starts)
    lengths = np.diff(first, append=label_map.size)
    component_of_run = _raster_order(_linked_runs(label_map, starts, first))
    first_of_component = first[_first_occurrence(component_of_run)]
    return Components(
        image=np.repeat(component_of_run, lengths).reshape(label_map.shape),
        labels=label_map.reshape(-1)[first_of_component],
        areas_px=np.bincount(component_of_run, weights=lengths).astype(np.int64),
        first=first_of_component,
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
