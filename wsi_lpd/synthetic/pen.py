"""Felt-pen marks on the cover glass: wide, soft-edged and out of focus, over tissue and glass alike."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wsi_lpd.types import Float32Array

from .layout import Piece
from .noise import Grid, smooth_noise

_INKS = np.array([(1.15, 0.75, 0.18), (1.05, 0.35, 0.95), (1.3, 1.35, 1.25), (0.15, 1.0, 1.1)])
"""Optical densities (R, G, B) of blue, green, black and red ink."""


@dataclass(frozen=True)
class PenMarks:
    """One stroke per marked piece of tissue."""

    strokes: tuple[NDArray[np.float64], ...]
    """Polylines (N, 2), micrometres."""
    ink: NDArray[np.float64]
    half_width_um: float
    seed: int

    def transmission(self, grid: Grid) -> Float32Array | None:
        """Transmitted share of light, (H, W, 3); None if no ink is near."""
        margin = 1.5 * self.half_width_um
        distance = np.full(grid.shape, np.inf)
        for stroke in self.strokes:
            low, high = stroke.min(0) - margin, stroke.max(0) + margin
            if high[0] < grid.x_um[0] or low[0] > grid.x_um[-1] or high[1] < grid.y_um[0] or low[1] > grid.y_um[-1]:
                continue
            for start, end in pairwise(stroke):
                np.minimum(distance, _to_segment(grid, start, end), out=distance)
        if distance.min() > margin:
            return None
        width = self.half_width_um * (1 + 0.12 * smooth_noise(grid, 90, self.seed))
        cover = 1 / (1 + np.exp(np.clip((distance - width) / 7.0, -30, 30)))
        cover *= 0.8 + 0.12 * smooth_noise(grid, 160, self.seed + 1) + 0.25 * np.exp(-(((distance - width) / 16) ** 2))
        return np.asarray(np.exp(-cover[..., None] * self.ink), np.float32)


def make_pen_marks(pieces: list[Piece], seed: int) -> PenMarks:
    """Draws an arc along the outline of about every second piece, at least one, all in the same ink."""
    rng = np.random.default_rng([seed, 401])
    strokes = []
    for number, piece in enumerate(pieces):
        start = rng.uniform(0, 2 * np.pi)
        t = start + np.linspace(0, rng.uniform(0.9, 2.2), 14)
        wobble = 1 + 0.03 * np.cumsum(rng.normal(0, 0.6, len(t)))
        stroke = np.stack(
            [piece.x_um + piece.a_um * wobble * np.cos(t), piece.y_um + piece.b_um * wobble * np.sin(t)], 1
        )
        if number == 0 or rng.random() < 0.5:
            strokes.append(stroke)
    half_width = float(np.clip(0.035 * min(p.a_um + p.b_um for p in pieces), 20, 220))
    return PenMarks(tuple(strokes), _INKS[int(rng.integers(len(_INKS)))], half_width, seed * 1_000 + 400)


def _to_segment(grid: Grid, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = grid.x_um[None, :] - start[0], grid.y_um[:, None] - start[1]
    along = end - start
    t = np.clip((x * along[0] + y * along[1]) / (along @ along), 0, 1)
    return np.asarray(np.hypot(x - t * along[0], y - t * along[1]))
