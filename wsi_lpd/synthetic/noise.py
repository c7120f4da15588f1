"""Random fields that do not depend on where and in which order they are evaluated.

Slide-wide fields are functions of (position, seed) through an integer hash, so that neighbouring blocks of a slide
match although they are computed independently. Swatches use periodic fields of one fixed size instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from wsi_lpd.types import AnyArray, Float32Array, Int64Array

_BSPLINE_STD = 0.277
"""Standard deviation of uniform (-1, 1) lattice values after the cubic B-spline in two dimensions."""


class Grid(NamedTuple):
    """Nodes of a regular grid on the slide: their x (W,) and y (H,) in micrometres, evenly spaced."""

    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return len(self.y_um), len(self.x_um)


class Nearest(NamedTuple):
    """The nearest site of a jittered lattice to each point, all arrays of one shape."""

    distance_um: Float32Array
    second_um: Float32Array
    """Distance to the second nearest site."""
    ix: Int64Array
    iy: Int64Array
    """Lattice position of the nearest site."""
    second_ix: Int64Array
    second_iy: Int64Array


def hashed(ix: Int64Array, iy: Int64Array, seed: int) -> NDArray[np.uint64]:
    """64 well-mixed bits per lattice position (the finaliser of splitmix64)."""
    seed_bits = np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF)
    h = ix.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F) ^ iy.astype(np.uint64) * np.uint64(0x165667B19E3779F9)
    h ^= seed_bits
    for multiplier in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        h = (h ^ (h >> np.uint64(30))) * np.uint64(multiplier)
    return np.asarray(h ^ (h >> np.uint64(31)), np.uint64)


def uniform(ix: Int64Array, iy: Int64Array, seed: int) -> NDArray[np.float64]:
    """One number in [0, 1) per lattice position."""
    return (hashed(ix, iy, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def smooth_noise(grid: Grid, wavelength_um: float, seed: int) -> Float32Array:
    """A twice differentiable field of mean 0 and standard deviation near 1 on the nodes of `grid`, (H, W)."""
    weights_x, first_x = _bspline(grid.x_um / wavelength_um)
    weights_y, first_y = _bspline(grid.y_um / wavelength_um)
    lattice_x = first_x + np.arange(weights_x.shape[1])
    lattice_y = first_y + np.arange(weights_y.shape[1])
    values = uniform(lattice_x[None, :], lattice_y[:, None], seed) * 2 - 1
    return (weights_y @ values @ weights_x.T / _BSPLINE_STD).astype(np.float32)


def _bspline(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Weights (len(t), L) of the lattice values at first, first + 1 ... for each position."""
    base = np.floor(t).astype(np.int64)
    f = t - base
    first = int(base.min()) - 1
    parts = ((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)
    weights = np.zeros((len(t), int(base.max()) - first + 3))
    rows = np.arange(len(t))
    for k, part in enumerate(parts):
        weights[rows, base - 1 - first + k] = part / 6
    return weights, first


SiteFactor = Callable[[Int64Array, Int64Array], AnyArray]
"""Maps lattice positions to a factor on the distance to each site; below 1 the cell grows."""


def nearest_sites(
    x_um: Float32Array, y_um: Float32Array, spacing_um: float, seed: int, site_factor: SiteFactor
) -> Nearest:
    """Finds the nearest site for each point (H, W); there is one randomly displaced site per lattice square.

    Args:
        x_um: Positions; may be distorted.
        y_um: Likewise.
        spacing_um: Side of a lattice square.
        seed: Seed of the displacement.
        site_factor: Varies the size of cells.
    """
    cx = np.floor(x_um / spacing_um).astype(np.int64)
    cy = np.floor(y_um / spacing_um).astype(np.int64)
    x0, y0 = int(cx.min()) - 1, int(cy.min()) - 1
    table_ix = x0 + np.arange(int(cx.max()) - x0 + 2)[None, :]
    table_iy = y0 + np.arange(int(cy.max()) - y0 + 2)[:, None]
    site_x = ((table_ix + 0.15 + 0.7 * uniform(table_ix, table_iy, seed)) * spacing_um).astype(np.float32).ravel()
    site_y = ((table_iy + 0.15 + 0.7 * uniform(table_ix, table_iy, seed + 1)) * spacing_um).astype(np.float32).ravel()
    factor = np.asarray(site_factor(table_ix, table_iy), np.float32).ravel()
    stride = table_ix.shape[1]
    centre = (cy - y0) * stride + (cx - x0)
    best, second, first_id, second_id = _two_nearest(x_um, y_um, centre, stride, site_x, site_y, factor)
    return Nearest(
        best, second, first_id % stride + x0, first_id // stride + y0, second_id % stride + x0, second_id // stride + y0
    )


def _two_nearest(
    x: Float32Array, y: Float32Array, centre: Int64Array, stride: int, sx: AnyArray, sy: AnyArray, factor: AnyArray
) -> tuple[Float32Array, Float32Array, Int64Array, Int64Array]:
    best = np.full(x.shape, np.inf, np.float32)
    second = best.copy()
    first_id = centre.copy()
    second_id = centre.copy()
    for step in [dy * stride + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
        site = centre + step
        distance = np.hypot(x - sx[site], y - sy[site]) * factor[site]
        nearer = distance < best
        between = ~nearer & (distance < second)
        second = np.where(nearer, best, np.where(between, distance, second))
        second_id = np.where(nearer, first_id, np.where(between, site, second_id))
        best = np.where(nearer, distance, best)
        first_id = np.where(nearer, site, first_id)
    return best, second, first_id, second_id


def periodic_noise(side_px: int, wavelength_px: float, rng: np.random.Generator, aspect: float = 1.0) -> Float32Array:
    """A seamless field (side, side) of mean 0 and standard deviation 1.

    Args:
        side_px: Its period; a power of two.
        wavelength_px: Size of its features along y; along x they are `aspect` times as long.
        rng: Source of randomness.
        aspect: See `wavelength_px`.
    """
    coarse = 1
    while side_px // coarse > 64 and wavelength_px * min(aspect, 1.0) / (2 * coarse) > 6:
        coarse *= 2
    n = side_px // coarse
    fy = scipy.fft.fftfreq(n).astype(np.float32)[:, None]
    fx = scipy.fft.rfftfreq(n).astype(np.float32)[None, :]
    lam = wavelength_px / coarse
    filt = np.exp(-((fy * lam) ** 2 + (fx * lam * aspect) ** 2) * 2).astype(np.float32)
    filt[0, 0] = 0
    spectrum = scipy.fft.rfft2(rng.standard_normal((n, n), dtype=np.float32))
    field = np.asarray(scipy.fft.irfft2(spectrum * filt, s=(n, n)), np.float32)
    field /= field.std()
    return field if coarse == 1 else enlarge_periodic(field, coarse)


def enlarge_periodic(field: Float32Array, factor: int) -> Float32Array:
    """Cubic enlargement that preserves periodicity."""
    padded = np.pad(field, 4, mode="wrap")
    height, width = padded.shape
    large = cv2.resize(padded, (width * factor, height * factor), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(large[4 * factor : -4 * factor, 4 * factor : -4 * factor])
