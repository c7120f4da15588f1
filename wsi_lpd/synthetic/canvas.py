"""The canvas of a swatch: a seamless square with cells, fibres and random fields."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_lpd.types import AnyArray, Float32Array, Int64Array

from .cells import Cells, seamless_tree, thinned
from .noise import periodic_noise
from .nuclei import NucleusKind, make_stamps, stamp


@dataclass(frozen=True)
class Layer:
    """Stain densities of a swatch, each (side, side)."""

    haematoxylin: AnyArray
    eosin: AnyArray


class Canvas:
    """The canvas on which a swatch is drawn; lengths in micrometres."""

    def __init__(self, cells: Cells, px_per_um: float, rng: np.random.Generator) -> None:
        self.cells = cells
        self.side_px = cells.side_px
        self.px_per_um = px_per_um
        self.rng = rng

    def noise(self, wavelength_um: float, aspect: float = 1.0) -> Float32Array:
        """A seamless field of mean 0 and standard deviation 1."""
        return periodic_noise(self.side_px, max(wavelength_um * self.px_per_um, 1.0), self.rng, aspect)

    def pick(self, min_distance_um: float, keep: float = 1.0, where: Float32Array | None = None) -> Int64Array:
        """Selects cells for nuclei at a minimum distance: a share `keep` of them, more where `where` is high."""
        chosen = thinned(self.cells, min_distance_um * self.px_per_um, self.rng)
        chance = np.full(len(chosen), keep)
        if where is not None:
            x, y = self.cells.sites_px[chosen].astype(np.int64).T
            chance = np.clip(keep * np.exp(where[y, x]), 0, 1)
        return chosen[self.rng.random(len(chosen)) < chance]

    def nuclei(
        self, kind: NucleusKind, cells: Int64Array, angle: Float32Array | None = None, jitter_um: float = 0.6
    ) -> tuple[Float32Array, Float32Array]:
        """Draws nuclei in the given cells, rotated at random or along `angle` (a field in radians).

        Returns:
            Haematoxylin density and cover (0 to 1), each (side, side).
        """
        stamps = make_stamps(kind, self.px_per_um, self.rng)
        centres = self.cells.sites_px[cells] + self.rng.normal(0, jitter_um * self.px_per_um, (len(cells), 2))
        centres %= self.side_px
        n = len(stamps.density)
        if angle is None:
            which = self.rng.integers(0, n, len(cells))
        else:
            x, y = centres.astype(np.int64).T % self.side_px
            turned = angle[y, x] + self.rng.normal(0, 0.2, len(cells))
            which = np.round(turned / np.pi * n).astype(np.int64) % n
        return stamp(self.side_px, stamps, centres, which)

    def flow(self, wavelength_um: float, swing: float) -> Float32Array:
        """Direction of fibres in radians: a mean direction that varies smoothly by about `swing`, with ripples."""
        ripple = 0.26 * self.noise(26) + 0.20 * self.noise(11)
        return (self.rng.uniform(0, np.pi) + swing * self.noise(wavelength_um) + ripple).astype(np.float32)

    def fibres(self, angle: Float32Array, length_um: float, width_um: float) -> Float32Array:
        """Noise smeared along `angle` (line integral convolution), mean 0 and standard deviation 1."""
        grain = self.noise(width_um)
        step = max(0.5 * width_um * self.px_per_um, 1.0)
        doublings = max(1, round(np.log2(max(length_um * self.px_per_um / (2 * step), 2.0))))
        smeared = self._smear(grain, angle, step, doublings) + self._smear(grain, angle, -step, doublings)
        smeared -= smeared.mean()
        return np.asarray(smeared / smeared.std(), np.float32)

    def _smear(self, grain: Float32Array, angle: Float32Array, step: float, doublings: int) -> Float32Array:
        """Sum along the flow over 2 ** doublings steps: a sum over 2 n steps is two sums over n, one shifted."""
        y, x = np.mgrid[: self.side_px, : self.side_px].astype(np.float32)
        dx, dy = np.cos(angle) * np.float32(step), np.sin(angle) * np.float32(step)
        total = grain
        for _ in range(doublings):
            at_x, at_y = x + dx, y + dy
            total = total + _moved(total, at_x, at_y)
            dx, dy = dx + _moved(dx, at_x, at_y), dy + _moved(dy, at_x, at_y)
        return total

    def cell_borders(self, among: Int64Array, width_um: float) -> Float32Array:
        """1 on the borders between the territories of the given cells, falling to 0 over `width_um`."""
        first, second = self._two_distances(self.cells.sites_px[among])
        gap = (second - first) / np.float32(self.px_per_um * width_um)
        return np.asarray(np.exp(-(gap**2)), np.float32)

    def _two_distances(self, sites: NDArray[np.float64]) -> tuple[Float32Array, Float32Array]:
        half = self.side_px // 2  # half resolution is enough, since the borders are soft
        y, x = np.mgrid[:half, :half] * 2 + 0.5
        wobble = [self.noise(6)[::2, ::2] * 0.8 * self.px_per_um for _ in range(2)]
        points = np.stack([(x + wobble[0]).ravel(), (y + wobble[1]).ravel()], axis=1) % self.side_px
        distance, _ = seamless_tree(sites, self.side_px).query(points, k=2)
        padded = np.pad(distance.reshape(half, half, 2), ((2, 2), (2, 2), (0, 0)), mode="wrap").astype(np.float32)
        large = cv2.resize(padded, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[4:-4, 4:-4]
        return np.asarray(large[..., 0], np.float32), np.asarray(large[..., 1], np.float32)

    def dust(self, density_per_mm2: float, radius_um: float, clump: Float32Array, strength: float) -> Float32Array:
        """Haematoxylin density of round dark grains of many sizes, more frequent where `clump` is high."""
        n = round(density_per_mm2 * (self.side_px / self.px_per_um / 1000) ** 2)
        at = self.rng.uniform(0, self.side_px, (n * 3, 2))
        x, y = at.astype(np.int64).T
        at = at[self.rng.random(len(at)) < np.clip(0.33 * np.exp(clump[y, x]), 0, 1)]
        kind = NucleusKind(
            2 * radius_um, 1.7 * radius_um, strength, 0.45, 0.25, irregularity=0.12, clumps=0.1, rim=0, softness_um=0.3
        )
        stamps = make_stamps(kind, self.px_per_um, self.rng)
        return stamp(self.side_px, stamps, at, self.rng.integers(0, len(stamps.density), len(at)))[0]


def _moved(field: Float32Array, at_x: Float32Array, at_y: Float32Array) -> Float32Array:
    return np.asarray(cv2.remap(field, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)
