"""Paints one block of the slide: looks up its textures and their pixels, then adds effects of the scanner."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Final, NamedTuple

import cv2
import numpy as np

from wsi_lpd.types import AnyArray, Float32Array, Int64Array, Size, UInt8Array

from .layout import Layout
from .noise import Grid, smooth_noise
from .pen import PenMarks, make_pen_marks
from .stain import make_stain
from .textures import CLASS_OF, Swatches, make_swatches

BLOCK_PX: Final = 1024
"""Side of a block: the unit of work, whatever the number of threads."""

_HALO_PX: Final = 2
_PAINTED_PX: Final = BLOCK_PX + 2 * _HALO_PX
_BAND_PX: Final = 96
_LINE: Final = np.arange(-_HALO_PX, BLOCK_PX + _HALO_PX, dtype=np.float32)
"""Positions of the painted pixels in their block."""

_REACH_PX: Final = 64
_FIELD_PX: Final = BLOCK_PX + 2 * _REACH_PX
"""Margin around a block in which the layout is evaluated: more than half of any cell."""

_SHADE_STEP_PX: Final = 32
_SHADE_REACH_PX: Final = 64

_NUCLEUS_CONTRAST: Final = 55
"""Contrast of a nucleus with its surroundings, in grey levels of the red channel."""


class Block(NamedTuple):
    """A painted square of the slide."""

    rgb: UInt8Array
    """(BLOCK_PX, BLOCK_PX, 3)."""
    classes: UInt8Array
    """Class of each pixel, (BLOCK_PX, BLOCK_PX)."""


class Painter:
    """Paints any block of one slide, in any order, from any thread."""

    def __init__(self, size_px: Size, *, mpp: float, seed: int, pen_marks: bool, pool: Executor) -> None:
        self._mpp = mpp
        self._seed = seed * 1_000 + 500
        self._layout = Layout(size_px, mpp=mpp, seed=seed)
        self._pen: PenMarks | None = make_pen_marks(self._layout.pieces, seed) if pen_marks else None
        stain = make_stain(seed)
        self._white = stain.white
        side = _swatch_side(size_px, mpp)
        self._swatches: Swatches = make_swatches(side, 1 / mpp, stain, seed, pool)
        # Nodes are at most two micrometres apart, so that no cell falls between nodes.
        self._step_px = next(step for step in (8, 4, 2, 1) if step * mpp <= 2.05 or step == 1)
        n_textures = len(CLASS_OF)
        self._first_pixel = np.arange(n_textures, dtype=np.int64) * side**2
        self._jumps = [_jump(steps) for steps in (self._swatches.cells.to_centre_px, self._swatches.cells.to_grain_px)]
        here = _LINE.astype(np.int64) + _REACH_PX
        self._positions = here[:, None] * _FIELD_PX + here[None, :]

    def block(self, column: int, row: int) -> Block:
        """Paints the block whose top-left pixel is (column, row) * BLOCK_PX."""
        coarse = self._layout.textures(self._grid(column, row, self._step_px, _REACH_PX))
        layout = coarse.repeat(self._step_px, axis=0).repeat(self._step_px, axis=1).ravel()
        single = bool((coarse == coarse[0, 0]).all())
        drift = self._drift(column, row)
        texture = np.empty((_PAINTED_PX, _PAINTED_PX), np.uint8)
        rgb = np.empty((_PAINTED_PX, _PAINTED_PX, 3), np.uint8)
        for start in range(0, _PAINTED_PX, _BAND_PX):  # in bands, whose arrays stay in the processor's cache
            band = np.s_[start : min(start + _BAND_PX, _PAINTED_PX)]
            index = self._swatch_index(drift, band, column, row)
            if single:
                texture[band] = coarse[0, 0]
                rgbx = self._pixels(index, texture[band])
            else:
                rgbx, texture[band] = self._bordered(layout, index, band)
            cv2.cvtColor(rgbx, cv2.COLOR_RGBA2RGB, dst=rgb[band])
        inner = np.s_[_HALO_PX:-_HALO_PX, _HALO_PX:-_HALO_PX]
        soft = cv2.GaussianBlur(rgb, (3, 3), 0.55)[inner]
        return Block(self._shaded(np.ascontiguousarray(soft), column, row), CLASS_OF.take(texture[inner]))

    def _grid(self, column: int, row: int, step_px: int, reach_px: int) -> Grid:
        """Nodes at the centre of every `step_px` pixels of a block and of a margin of `reach_px` around it."""
        offsets = np.arange(-reach_px + 0.5 * step_px, BLOCK_PX + reach_px, step_px)
        return Grid((column * BLOCK_PX + offsets) * self._mpp, (row * BLOCK_PX + offsets) * self._mpp)

    def _drift(self, column: int, row: int) -> list[Float32Array]:
        """The displacement of the swatches in x and in y at each pixel.

        The swatches are repeated over the slide, but slightly stretched and bent, so that no two repeats are alike or
        aligned.
        """
        grid = self._grid(column, row, _SHADE_STEP_PX, _SHADE_REACH_PX)
        drift = []
        for axis in range(2):
            wide_um = 150 * smooth_noise(grid, 1_900, self._seed + axis)
            near_um = 34 * smooth_noise(grid, 430, self._seed + 2 + axis)
            drift.append(_enlarged((wide_um + near_um) / np.float32(self._mpp), _HALO_PX))
        return drift

    def _swatch_index(self, drift: list[Float32Array], band: slice, column: int, row: int) -> Int64Array:
        """Index into a swatch for each pixel of a band, (rows, _PAINTED_PX)."""
        period = self._swatches.side_px
        index = []
        for axis, line in enumerate((_LINE[None, :], _LINE[band, None])):
            moved = drift[axis][band] + (line + np.float32(64 * period))
            whole = moved.astype(np.int32)  # positions are positive, so this is the floor
            whole += np.int32((column, row)[axis] * BLOCK_PX % period)
            whole &= np.int32(period - 1)
            index.append(whole)
        flat = index[1]
        flat *= np.int32(period)
        flat += index[0]
        return flat.astype(np.int64)

    def _pixels(self, index: Int64Array, texture: UInt8Array) -> UInt8Array:
        """R, G, B and a spare byte of each pixel, (..., 4)."""
        flat = self._first_pixel.take(texture)
        flat += index
        return self._swatches.pixels.take(flat, mode="wrap").view(np.uint8).reshape(*flat.shape, 4)

    def _bordered(self, layout: UInt8Array, index: Int64Array, band: slice) -> tuple[UInt8Array, UInt8Array]:
        """Pixels and textures of a band: each pixel takes the texture of the layout at the centre of its cell.

        Along borders, its grain may have another texture; then both tissues are visible, as in a section of some
        thickness.
        """
        found = []
        for jump in self._jumps:
            at = jump.take(index, mode="wrap")
            at += self._positions[band]
            found.append(layout.take(at, mode="wrap"))
        rgbx = self._pixels(index, found[0])
        fringe = found[0] != found[1]
        if fringe.any():
            rgbx[fringe] = _overlaid(rgbx[fringe], self._pixels(index[fringe], found[1][fringe]))
        return rgbx, found[0]

    def _shaded(self, rgb: UInt8Array, column: int, row: int) -> UInt8Array:
        """Applies smooth variations of section thickness and illumination, and draws pen marks."""
        grid = self._grid(column, row, _SHADE_STEP_PX, _SHADE_REACH_PX)
        seed = self._seed + 10
        thickness = 1 + 0.07 * smooth_noise(grid, 700, seed) + 0.035 * smooth_noise(grid, 160, seed + 1)
        tint = 0.03 * smooth_noise(grid, 500, seed + 2)
        absorbed = np.stack([thickness - tint, thickness, thickness + tint], axis=-1)
        light = (0.985 + 0.006 * smooth_noise(grid, 900, seed + 3))[..., None] * np.ones(3, np.float32)
        ink = None if self._pen is None else self._pen.transmission(grid)
        if ink is not None:
            light = light * ink
        dark = cv2.multiply(cv2.bitwise_not(rgb), _levels(absorbed, 128), scale=1 / 128)
        return np.asarray(cv2.multiply(cv2.bitwise_not(dark), _levels(light, 255), scale=1 / 255), np.uint8)


def _swatch_side(size_px: Size, mpp: float) -> int:
    """Period of the swatches in pixels; small slides need no repeats, so smaller swatches save time."""
    if max(size_px) <= 1_200:
        return 256
    return 1024 if max(size_px) > 2_500 and mpp < 0.7 else 512


def _levels(factor: Float32Array, one: int) -> UInt8Array:
    """A slowly varying factor for each pixel of the block, as uint8 with `one` for 1."""
    return _enlarged(np.clip(np.round(factor * one), 0, 255).astype(np.uint8), 0)


def _enlarged(field: AnyArray, halo_px: int) -> AnyArray:
    """From the nodes of the shading grid to the pixels of a block with a halo."""
    side = field.shape[0] * _SHADE_STEP_PX
    large = cv2.resize(field, (side, side), interpolation=cv2.INTER_LINEAR)
    cut = _SHADE_REACH_PX - halo_px
    return large[cut : side - cut, cut : side - cut]


def _jump(steps: AnyArray) -> Int64Array:
    """Steps (2, side, side) as steps in the flattened layout of a block."""
    limit = _REACH_PX - _HALO_PX
    dx, dy = np.clip(steps.astype(np.int64), -limit, limit)
    return np.asarray(dy * _FIELD_PX + dx, np.int64).ravel()


def _overlaid(cell: UInt8Array, frayed: UInt8Array) -> UInt8Array:
    """Two overlapping tissues, (N, 4) each: their mean, except that nuclei stay whole and slivers are hidden."""
    nuclear = np.abs(cell[:, 0].astype(np.int16) - frayed[:, 0]) > _NUCLEUS_CONTRAST
    return np.where(nuclear[:, None], cell, cv2.addWeighted(cell, 0.5, frayed, 0.5, 0))
