"""The layout of textures: tissue pieces, regions of the classes, glands, follicles, septa.

Everything is a function of the position on the slide and the seed, evaluated on a coarse grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np

from wsi_lpd.types import AnyArray, BoolArray, Float32Array, Size, UInt8Array

from .noise import Grid, Nearest, hashed, nearest_sites, smooth_noise, uniform
from .textures import IMMUNE, NECROSIS, STROMA, TUMOR, Texture

REGION_UM: Final = 236.0
"""Distance between the seeds of regions; neighbours of the same class form larger regions."""

_GLAND_UM: Final = 96.0
_FOLLICLE_UM: Final = 130.0
_ORDERS: Final = np.array(list(permutations((TUMOR, STROMA, IMMUNE, NECROSIS))), np.uint8)
_CLASS_FACTORS: Final = np.array([1.0, 0.82, 1.06, 0.98, 1.0])
_MORPHOLOGIES: Final = {TUMOR: 3, STROMA: 3, IMMUNE: 2, NECROSIS: 2}


@dataclass(frozen=True)
class Piece:
    """One piece of tissue: centre and half axes in micrometres."""

    x_um: float
    y_um: float
    a_um: float
    b_um: float


class Layout:
    """The texture map of one slide."""

    def __init__(self, size_px: Size, *, mpp: float, seed: int) -> None:
        self._seed = seed * 1_000
        self.pieces = _pieces(size_px.width * mpp, size_px.height * mpp, seed)

    def textures(self, grid: Grid) -> UInt8Array:
        """The texture at each node of `grid`, (H, W)."""
        tissue = self.tissue(grid)
        if not tissue.any():
            return np.zeros(grid.shape, np.uint8)
        x, y = self._warped(grid)
        regions = nearest_sites(x, y, REGION_UM, self._seed + 40, self._region_factor)
        regions = self._mingled(grid, regions)
        classes = _site_class(regions.ix, regions.iy, self._seed)
        morphology = hashed(regions.ix, regions.iy, self._seed + 50) >> np.uint64(20)
        out = np.zeros(grid.shape, np.uint8)
        for value, draw in (
            (TUMOR, self._tumor),
            (STROMA, self._stroma),
            (IMMUNE, self._immune),
            (NECROSIS, self._necrosis),
        ):
            here = classes == value
            if here.any():
                kind = (morphology % np.uint64(_MORPHOLOGIES[value])).astype(np.uint8)
                np.copyto(out, draw(grid, x, y, kind), where=here)
        np.copyto(out, self._stroma_texture(grid), where=self._septa(grid, regions, classes))
        out[~tissue] = Texture.GLASS
        return out

    def tissue(self, grid: Grid) -> BoolArray:
        """Where there is tissue: inside a piece and outside tears."""
        x, y = grid.x_um[None, :], grid.y_um[:, None]
        inside = np.full(grid.shape, -1.0, np.float32)
        for piece in self.pieces:
            depth = 1 - ((np.abs(x - piece.x_um) / piece.a_um) ** 2.2 + (np.abs(y - piece.y_um) / piece.b_um) ** 2.2)
            np.maximum(inside, depth, out=inside)
        if inside.max() < -0.9:
            return np.zeros(grid.shape, np.bool_)
        ragged = 0.15 * self._noise(grid, 420, 1) + 0.07 * self._noise(grid, 130, 2) + 0.035 * self._noise(grid, 38, 3)
        tear = np.abs(self._noise(grid, 170, 4)) + 0.25 * np.abs(self._noise(grid, 35, 5)) < 0.05
        tear &= self._noise(grid, 300, 6) > 0.9
        return np.asarray((inside + ragged > 0) & ~tear)

    def _noise(self, grid: Grid, wavelength_um: float, stream: int) -> Float32Array:
        return smooth_noise(grid, wavelength_um, self._seed + stream)

    def _warped(self, grid: Grid) -> tuple[Float32Array, Float32Array]:
        """Positions distorted by noise, so that borders meander."""
        moved = []
        for axis, along in enumerate((grid.x_um[None, :], grid.y_um[:, None])):
            s = 10 + 5 * axis
            shift = (
                50 * self._noise(grid, 230, s) + 24 * self._noise(grid, 80, s + 1) + 7 * self._noise(grid, 28, s + 2)
            )
            moved.append((along + shift).astype(np.float32))
        return moved[0], moved[1]

    def _region_factor(self, ix: AnyArray, iy: AnyArray) -> AnyArray:
        """Septa and the stroma between glands reduce the tumour, so its regions start larger."""
        return _CLASS_FACTORS[_site_class(ix, iy, self._seed)] * self._varied(ix, iy)

    def _varied(self, ix: AnyArray, iy: AnyArray) -> AnyArray:
        return 0.88 + 0.24 * uniform(ix, iy, self._seed + 45)

    def _mingled(self, grid: Grid, regions: Nearest) -> Nearest:
        """Mixes regions near their border by tongues and islands."""
        gap = regions.second_um - regions.distance_um
        push = 38 * self._noise(grid, 62, 16) + 12 * self._noise(grid, 24, 17)
        # One recedes where the other advances; if both advanced, thin double bands would follow the border.
        first = (regions.ix < regions.second_ix) | (
            (regions.ix == regions.second_ix) & (regions.iy < regions.second_iy)
        )
        over = gap < np.where(first, push, -push)
        return regions._replace(
            ix=np.where(over, regions.second_ix, regions.ix),
            iy=np.where(over, regions.second_iy, regions.iy),
            second_ix=np.where(over, regions.ix, regions.second_ix),
            second_iy=np.where(over, regions.iy, regions.second_iy),
        )

    def _septa(self, grid: Grid, regions: Nearest, classes: UInt8Array) -> BoolArray:
        """Strands of stroma between some regions of different classes."""
        other = _site_class(regions.second_ix, regions.second_iy, self._seed)
        width = 10 + 12 * self._noise(grid, 110, 20)
        near = regions.second_um - regions.distance_um < width
        return np.asarray((classes != STROMA) & (other != classes) & near)

    def _tumor(self, grid: Grid, x: Float32Array, y: Float32Array, kind: UInt8Array) -> UInt8Array:
        out = np.where(kind == 0, np.uint8(Texture.SOLID_TUMOR), np.uint8(Texture.CLEAR_TUMOR))
        glandular = kind == 1
        if glandular.any():
            np.copyto(out, self._glands(grid, x, y), where=glandular)
        return out

    def _glands(self, grid: Grid, x: Float32Array, y: Float32Array) -> UInt8Array:
        """Cross-sections of tubes: a lumen, a ring of epithelium, and thin stroma between the glands."""
        glands = nearest_sites(x, y, _GLAND_UM, self._seed + 60, self._varied)
        rough = 2.5 * self._noise(grid, 24, 21)
        lumen_um = 6 + 22 * uniform(glands.ix, glands.iy, self._seed + 65)
        gap_um = glands.second_um - glands.distance_um
        out = np.full(grid.shape, Texture.GLAND, np.uint8)
        np.copyto(out, self._stroma_texture(grid), where=gap_um < 10 + 3 * rough)
        out[(glands.distance_um < lumen_um + 2 * rough) & (gap_um > 30)] = Texture.LUMEN
        return out

    def _stroma(self, grid: Grid, x: Float32Array, y: Float32Array, kind: UInt8Array) -> UInt8Array:
        return (Texture.COLLAGEN + kind).astype(np.uint8)

    def _stroma_texture(self, grid: Grid) -> UInt8Array:
        """The texture of the strands of stroma."""
        loose = self._noise(grid, 260, 22) > 0.8
        return np.where(loose, np.uint8(Texture.MYXOID), np.uint8(Texture.CELLULAR_STROMA))

    def _immune(self, grid: Grid, x: Float32Array, y: Float32Array, kind: UInt8Array) -> UInt8Array:
        follicles = nearest_sites(x, y, _FOLLICLE_UM, self._seed + 70, self._varied)
        radius_um = 62 * uniform(follicles.ix, follicles.iy, self._seed + 75) - 12
        dense = np.full(grid.shape, Texture.DENSE_LYMPHOCYTES, np.uint8)
        dense[follicles.distance_um < radius_um + 4 * self._noise(grid, 26, 23)] = Texture.GERMINAL_CENTRE
        clusters = follicles.distance_um < radius_um * 0.8 + 7 * self._noise(grid, 30, 24)
        sparse = np.where(clusters, np.uint8(Texture.DENSE_LYMPHOCYTES), np.uint8(Texture.SPARSE_LYMPHOCYTES))
        return np.where(kind == 0, dense, sparse)

    def _necrosis(self, grid: Grid, x: Float32Array, y: Float32Array, kind: UInt8Array) -> UInt8Array:
        patches = self._noise(grid, 60, 25) + 0.4 * self._noise(grid, 24, 26)
        dusty = np.where(kind == 0, patches > 1.0, patches > -1.0)
        return np.where(dusty, np.uint8(Texture.DUST_NECROSIS), np.uint8(Texture.GHOST_NECROSIS))


def _site_class(ix: AnyArray, iy: AnyArray, seed: int) -> UInt8Array:
    """Every two by two seeds have the four classes once, in random order, so that no class is rare."""
    order = (hashed(ix >> 1, iy >> 1, seed + 30) >> np.uint64(17)) % np.uint64(len(_ORDERS))
    return np.asarray(_ORDERS[order.astype(np.int64), (ix & 1) + 2 * (iy & 1)], np.uint8)


def _pieces(width_um: float, height_um: float, seed: int) -> list[Piece]:
    rng = np.random.default_rng([seed, 301])
    n_x, n_y = (1 if side < 1_600 else 2 if side < 6_000 else 3 for side in (width_um, height_um))
    step_x, step_y = width_um / n_x, height_um / n_y
    pieces = []
    for j in range(n_y):
        for i in range(n_x):
            dx, dy = rng.uniform(-0.04, 0.04, 2)
            a, b = rng.uniform(0.40, 0.45, 2)
            pieces.append(Piece((i + 0.5 + dx) * step_x, (j + 0.5 + dy) * step_y, a * step_x, b * step_y))
    return pieces
