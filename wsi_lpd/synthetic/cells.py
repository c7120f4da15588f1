"""The layout of cells shared by all swatches, so that tissue borders run between cells, not through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from wsi_lpd.types import AnyArray, Int64Array

from .noise import periodic_noise

CELL_SPACING_UM: Final = 7.6
"""Mean distance of neighbouring cells: that of a sheet of lymphocytes, the smallest cells."""

_GRAIN_UM: Final = 2.4


@dataclass(frozen=True)
class Cells:
    """A seamless square of cells."""

    side_px: int
    sites_px: NDArray[np.float64]
    """Centres (N, 2), x and y in [0, side)."""
    to_centre_px: AnyArray
    """Offset from each pixel to the centre of its cell, int8 (2, side, side), x then y."""
    to_grain_px: AnyArray
    """The same for much finer grains, which give frayed borders instead of borders along whole cells."""


def make_cells(side_px: int, px_per_um: float, rng: np.random.Generator) -> Cells:
    """Places cells evenly but irregularly and assigns each pixel to the nearest one, with slightly wavy borders."""
    sites = _spread_sites(side_px, CELL_SPACING_UM * px_per_um, rng)
    grains = rng.uniform(0, side_px, (round((side_px / (_GRAIN_UM * px_per_um)) ** 2), 2))
    to_centre, to_grain = (_steps_to_centre(side_px, points, px_per_um, rng) for points in (sites, grains))
    return Cells(side_px, sites, to_centre, to_grain)


def thinned(cells: Cells, min_distance_px: float, rng: np.random.Generator) -> Int64Array:
    """Indices of a random subset of cells whose centres are at least `min_distance_px` apart."""
    tree = seamless_tree(cells.sites_px, cells.side_px)
    neighbours = tree.query_ball_point(cells.sites_px, min_distance_px)
    free = np.ones(len(cells.sites_px), bool)
    kept = []
    for i in rng.permutation(len(free)):
        if free[i]:
            kept.append(int(i))
            free[neighbours[i]] = False
    return np.array(kept, np.int64)


def seamless_tree(points_px: NDArray[np.float64], side_px: int) -> Any:
    """A search tree in which the square's opposite sides touch."""
    return cKDTree(points_px, boxsize=np.array([side_px, side_px], np.float64))


def _spread_sites(side_px: int, spacing_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    n = max(4, round(side_px**2 / (0.93 * spacing_px**2)))
    sites = rng.uniform(0, side_px, (n, 2))
    for _ in range(14):  # each site moves away from its neighbours; more rounds would make the layout regular
        distance, index = seamless_tree(sites, side_px).query(sites, k=min(6, n))
        away = sites[:, None, :] - sites[index[:, 1:]]
        away -= side_px * np.round(away / side_px)
        push = np.clip(1.05 - distance[:, 1:] / spacing_px, 0, None)
        unit = away / np.maximum(distance[:, 1:, None], 1e-6)
        sites = (sites + 0.30 * spacing_px * (unit * push[:, :, None]).sum(1)) % side_px
        sites[sites >= side_px] = 0
    return sites


def _steps_to_centre(side_px: int, sites: NDArray[np.float64], px_per_um: float, rng: np.random.Generator) -> AnyArray:
    shift = [periodic_noise(side_px, 5 * px_per_um, rng) * 0.7 * px_per_um for _ in range(2)]
    y, x = np.mgrid[:side_px, :side_px]
    margin = int(2.5 * CELL_SPACING_UM * px_per_um) + 2
    nearest = _nearest_site(side_px, sites, margin)
    at_y = np.round(y + shift[1]).astype(np.int64) % side_px
    at_x = np.round(x + shift[0]).astype(np.int64) % side_px
    centre = sites[nearest[at_y, at_x]]  # (side, side, 2)
    steps = np.stack([centre[..., 0] - x, centre[..., 1] - y])
    steps -= side_px * np.round(steps / side_px)
    return np.clip(np.round(steps), -127, 127).astype(np.int8)


def _nearest_site(side_px: int, sites: NDArray[np.float64], margin: int) -> Int64Array:
    margin = min(margin, side_px)
    free = np.full((side_px, side_px), 255, np.uint8)
    owner = np.zeros((side_px, side_px), np.int64)
    at = np.floor(sites).astype(np.int64)
    free[at[:, 1], at[:, 0]] = 0
    owner[at[:, 1], at[:, 0]] = np.arange(len(sites))
    free = np.pad(free, margin, mode="wrap")
    owner = np.pad(owner, margin, mode="wrap")
    _, labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    by_label = np.zeros(int(labels.max()) + 1, np.int64)
    by_label[labels[free == 0]] = owner[free == 0]
    inner = labels[margin : margin + side_px, margin : margin + side_px]
    return np.asarray(by_label[inner], np.int64)
