"""Paints one block of the slide: looks up its textures, takes their pixels, adds what the scanner adds."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Final, NamedTuple

import cv2
import numpy as np

from wsi_lpd.types import AnyArray, Float32Array, Size, UInt8Array

from .layout import Layout
from .noise import Grid, smooth_noise
from .pen import PenMarks, make_pen_marks
from .stain import make_stain
from .textures import CLASS_OF, Swatches, make_swatches

BLOCK_PX: Final = 1024
"""Side of a block: the unit of work, whatever the number of threads."""

_HALO_PX: Final = 2
_SHADE_STEP_PX: Final = 32

_NUCLEUS_CONTRAST: Final = 55
"""Grey levels in red by which a nucleus is darker than what lies round it."""


class Block(NamedTuple):
    """A painted square of the slide."""

    rgb: UInt8Array
    """(BLOCK_PX, BLOCK_PX, 3)."""
    classes: UInt8Array
    """What class each pixel was painted from, (BLOCK_PX, BLOCK_PX)."""


class Painter:
    """Paints any block of one slide, in any order, from any thread."""

    def __init__(self, size_px: Size, *, mpp: float, seed: int, pen_marks: bool, pool: Executor) -> None:
        self._mpp = mpp
        self._seed = seed * 1_000 + 500
        self._layout = Layout(size_px, mpp=mpp, seed=seed)
        self._pen: PenMarks | None = make_pen_marks(self._layout.pieces, seed) if pen_marks else None
        stain = make_stain(seed)
        self._white = stain.white
        side = 1024 if mpp < 0.7 else 512
        self._swatches: Swatches = make_swatches(side, 1 / mpp, stain, seed, pool)
        # One node per two micrometres at most, so that cells do not fall between nodes.
        self._step_px = next(step for step in (8, 4, 2, 1) if step * mpp <= 2.05 or step == 1)
        self._reach_px = 64 if mpp < 0.3 else 32

    def block(self, column: int, row: int) -> Block:
        """Paints the block whose top-left pixel is (column, row) * BLOCK_PX."""
        index = self._swatch_index(column, row)
        texture, frayed = self._textures(column, row, index)
        rgbx = self._pixels(index, texture)
        fringe = texture != frayed
        if fringe.any():
            rgbx[fringe] = _overlaid(rgbx[fringe], self._pixels(index[fringe], frayed[fringe]))
        rgb = cv2.GaussianBlur(cv2.cvtColor(rgbx, cv2.COLOR_RGBA2RGB), (3, 3), 0.55)
        inner = np.s_[_HALO_PX:-_HALO_PX, _HALO_PX:-_HALO_PX]
        shaded = self._shaded(np.ascontiguousarray(rgb[inner]), column, row)
        return Block(shaded, CLASS_OF.take(texture[inner]))

    def _grid(self, column: int, row: int, step_px: int, reach_px: int) -> Grid:
        """Nodes in the middle of every `step_px` pixels of a block and of a margin of `reach_px` round it."""
        offsets = np.arange(-reach_px + 0.5 * step_px, BLOCK_PX + reach_px, step_px)
        return Grid((column * BLOCK_PX + offsets) * self._mpp, (row * BLOCK_PX + offsets) * self._mpp)

    def _enlarged(self, field: Float32Array, step_px: int, reach_px: int, halo_px: int) -> Float32Array:
        side = field.shape[0] * step_px
        large = cv2.resize(field, (side, side), interpolation=cv2.INTER_LINEAR)
        cut = reach_px - halo_px
        return np.asarray(large[cut : side - cut, cut : side - cut])

    def _swatch_index(self, column: int, row: int) -> AnyArray:
        """Which pixel of a swatch each pixel of the block shows, int64 (side, side) with the halo.

        The swatches are repeated over the slide, but stretched and bent slowly, so that no two repeats are alike
        or stand in a row.
        """
        grid = self._grid(column, row, _SHADE_STEP_PX, 64)
        period = np.int64(self._swatches.side_px)
        position = np.arange(-_HALO_PX, BLOCK_PX + _HALO_PX, dtype=np.float32)
        index = []
        for axis in range(2):
            drift = 150 * smooth_noise(grid, 1_900, self._seed + axis) + 34 * smooth_noise(
                grid, 430, self._seed + 2 + axis
            )
            bent = self._enlarged(drift / np.float32(self._mpp), _SHADE_STEP_PX, 64, _HALO_PX)
            bent += position[None, :] if axis == 0 else position[:, None]
            start = np.int64((column, row)[axis] * BLOCK_PX)
            index.append((np.floor(bent).astype(np.int64) + start) & (period - 1))
        return index[1] * period + index[0]

    def _pixels(self, index: AnyArray, texture: AnyArray) -> UInt8Array:
        """R, G, B and a spare byte of each pixel, (..., 4)."""
        flat = index + texture * np.int64(self._swatches.side_px**2)
        return self._swatches.pixels.take(flat, mode="wrap").view(np.uint8).reshape(*flat.shape, 4)

    def _textures(self, column: int, row: int, index: AnyArray) -> tuple[AnyArray, AnyArray]:
        """The texture of each pixel, that of the layout at the centre of its cell; and again at its grain.

        The two differ along borders only: there, both tissues show, as they do in a section of some thickness.
        """
        coarse = self._layout.textures(self._grid(column, row, self._step_px, self._reach_px))
        first = coarse[0, 0]
        if (coarse == first).all():
            plain = np.full(index.shape, first, np.uint8)
            return plain, plain
        shift = int(self._step_px).bit_length() - 1
        here = np.arange(-_HALO_PX, BLOCK_PX + _HALO_PX) + self._reach_px
        limit = self._reach_px - _HALO_PX
        found = []
        for steps in (self._swatches.cells.to_centre_px, self._swatches.cells.to_grain_px):
            dx = steps[0].ravel().take(index).clip(-limit, limit)
            dy = steps[1].ravel().take(index).clip(-limit, limit)
            at = ((here[:, None] + dy) >> shift) * np.int64(coarse.shape[1]) + ((here[None, :] + dx) >> shift)
            found.append(coarse.ravel().take(at))
        return found[0], found[1]

    def _shaded(self, rgb: UInt8Array, column: int, row: int) -> UInt8Array:
        """Varies the section's thickness and the lamp's light, both slowly, and draws the pen."""
        grid = self._grid(column, row, _SHADE_STEP_PX, 64)
        seed = self._seed + 10
        thickness = 1 + 0.07 * smooth_noise(grid, 700, seed) + 0.035 * smooth_noise(grid, 160, seed + 1)
        tint = 0.03 * smooth_noise(grid, 500, seed + 2)
        absorbed = np.stack([thickness - tint, thickness, thickness + tint], axis=-1)
        light = (1 + 0.008 * smooth_noise(grid, 900, seed + 3))[..., None] * np.ones(3, np.float32)
        ink = None if self._pen is None else self._pen.transmission(grid)
        if ink is not None:
            light = light * ink
        dark = cv2.multiply(cv2.bitwise_not(rgb), self._gain(absorbed), scale=1 / 128)
        return np.asarray(cv2.multiply(cv2.bitwise_not(dark), self._gain(light), scale=1 / 128), np.uint8)

    def _gain(self, factor: Float32Array) -> UInt8Array:
        """A factor below 2 for each pixel of the block as uint8, 128 for one."""
        small = np.clip(factor * 128, 0, 255).astype(np.float32)
        return np.round(self._enlarged(small, _SHADE_STEP_PX, 64, 0)).astype(np.uint8)


def _overlaid(one: UInt8Array, other: UInt8Array) -> UInt8Array:
    """Two tissues over one another, (N, 4) each: the mean, but a nucleus of either stays as dark as it is."""
    red = one[:, 0].astype(np.int16) - other[:, 0]
    darker = np.where(red[:, None] < 0, one, other)
    return np.where(np.abs(red)[:, None] > _NUCLEUS_CONTRAST, darker, cv2.addWeighted(one, 0.5, other, 0.5, 0))
