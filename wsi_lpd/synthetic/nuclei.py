"""Nuclei: small images of haematoxylin density, drawn once per swatch and stamped many times."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_lpd.types import AnyArray, Float32Array


@dataclass(frozen=True)
class NucleusKind:
    """Appearance of one kind of nuclei. Lengths in micrometres, densities as in `stain`."""

    length_um: float
    width_um: float
    density: float
    size_spread: float = 0.15
    density_spread: float = 0.15
    irregularity: float = 0.06
    """Relative size of the dents in the outline."""
    clumps: float = 0.3
    """Relative contrast of the chromatin."""
    clump_um: float = 1.1
    rim: float = 0.25
    """Extra density of the nuclear membrane, relative."""
    nucleoli: int = 0
    softness_um: float = 0.25


@dataclass(frozen=True)
class Stamps:
    """Images of nuclei: `density` and `cover` (0 to 1), each (N, S, S); number i is rotated by pi * i / N."""

    density: Float32Array
    cover: Float32Array


def make_stamps(kind: NucleusKind, px_per_um: float, rng: np.random.Generator, n: int = 48) -> Stamps:
    """Draws `n` random nuclei of one kind, rotated evenly from 0 to pi."""
    half = int(np.ceil(kind.length_um * 0.5 * (1 + 2.2 * kind.size_spread + 2 * kind.irregularity) * px_per_um)) + 3
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) / np.float32(px_per_um)
    angle = (np.pi * np.arange(n) / n).astype(np.float32)[:, None, None]
    u = x * np.cos(angle) + y * np.sin(angle)
    v = -x * np.sin(angle) + y * np.cos(angle)
    size = np.exp(rng.normal(0, kind.size_spread, (n, 1, 1))).clip(0.65, 1.5)
    stretch = np.exp(rng.normal(0, 0.08, (n, 1, 1)))
    a = kind.length_um / 2 * size * stretch
    b = kind.width_um / 2 * size / stretch
    radius = np.hypot(u / a, v / b) / _outline(np.arctan2(v / b, u / a), kind.irregularity, rng)
    inside_um = ((1 - radius) * np.minimum(a, b)).astype(np.float32)  # approximate depth below the outline
    cover = 0.5 + 0.5 * np.tanh(inside_um / max(kind.softness_um, 0.35 / px_per_um) * 1.25)
    body = _chromatin(kind, inside_um, px_per_um, rng) * np.exp(rng.normal(0, kind.density_spread, (n, 1, 1)))
    return Stamps((kind.density * body * cover).astype(np.float32), cover.astype(np.float32))


def _outline(theta: AnyArray, irregularity: float, rng: np.random.Generator) -> AnyArray:
    n = len(theta)
    out = np.ones_like(theta)
    for k in (2, 3, 4, 5):
        out += irregularity / k * 2 * rng.normal(0, 1, (n, 1, 1)) * np.cos(k * theta + rng.uniform(0, 6.3, (n, 1, 1)))
    return np.asarray(np.clip(out, 0.6, 1.4))


def _chromatin(kind: NucleusKind, inside_um: Float32Array, px_per_um: float, rng: np.random.Generator) -> AnyArray:
    noise = rng.standard_normal(inside_um.shape, dtype=np.float32)
    sigma = max(kind.clump_um * px_per_um / 2.5, 0.4)
    clumps = np.stack([cv2.GaussianBlur(layer, (0, 0), sigma) for layer in noise])
    clumps /= clumps.std() + 1e-6
    body = 1 + kind.clumps * clumps + kind.rim * np.exp(-((inside_um - 0.35) ** 2) / 0.18)
    for _ in range(kind.nucleoli):
        body += 0.9 * _spot(inside_um.shape, px_per_um, kind.width_um * 0.22, 0.65, rng)
    return np.asarray(np.clip(body, 0.25, 2.2))


def _spot(
    shape: tuple[int, ...], px_per_um: float, spread_um: float, radius_um: float, rng: np.random.Generator
) -> AnyArray:
    n, side, _ = shape
    y, x = np.mgrid[:side, :side].astype(np.float32)
    middle = side // 2 + rng.normal(0, spread_um * px_per_um, (2, n, 1, 1))
    distance = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / (radius_um * px_per_um) ** 2
    return np.asarray(np.exp(-distance))


def stamp(
    side_px: int, stamps: Stamps, centres_px: NDArray[np.float64], which: AnyArray
) -> tuple[Float32Array, Float32Array]:
    """Places nuclei on an empty seamless square; where two overlap, the denser one is visible.

    Args:
        side_px: Side of the square, its period.
        stamps: Images to choose from.
        centres_px: (N, 2), x and y.
        which: Number of the image for each centre, (N,).

    Returns:
        Density and cover, (side, side).
    """
    size = stamps.density.shape[1]
    margin = size
    density = np.zeros((side_px + 2 * margin, side_px + 2 * margin), np.float32)
    cover = np.zeros_like(density)
    corners = np.round(centres_px).astype(np.int64) - size // 2 + margin
    for (x, y), number in zip(corners.tolist(), np.asarray(which).tolist(), strict=True):
        window = np.s_[y : y + size, x : x + size]
        np.maximum(density[window], stamps.density[number], out=density[window])
        np.maximum(cover[window], stamps.cover[number], out=cover[window])
    return _folded(density, side_px, margin), _folded(cover, side_px, margin)


def _folded(canvas: Float32Array, side_px: int, margin: int) -> Float32Array:
    """Adds the content of the margin to the opposite side."""
    for _ in range(2):  # rows, then columns
        core = canvas[margin : margin + side_px].copy()
        reach = min(margin, side_px)
        np.maximum(core[side_px - reach :], canvas[margin - reach : margin], out=core[side_px - reach :])
        np.maximum(core[:reach], canvas[margin + side_px : margin + side_px + reach], out=core[:reach])
        canvas = core.T
    return np.ascontiguousarray(canvas)
