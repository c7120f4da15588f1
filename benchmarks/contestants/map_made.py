"""The label map that all exporters get: five classes, some 16,000 regions, with holes and background.

python -m benchmarks.contestants.map_made OUT.npy
"""

from __future__ import annotations

import sys

import numpy as np
from scipy import ndimage

HEIGHT, WIDTH = 5120, 5120
N_CLASSES = 5
WAVES = ((56.0, 1.0), (7.0, 0.4))
"""Width (px, standard deviation) and strength of the two kinds of noise: large regions with rough borders and holes."""


def main() -> None:
    """Writes (HEIGHT, WIDTH) uint8, 0 to N_CLASSES."""
    rng = np.random.default_rng(5)
    best = np.full((HEIGHT, WIDTH), -np.inf, np.float32)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label in range(N_CLASSES + 1):
        field = np.zeros((HEIGHT, WIDTH), np.float32)
        for width, strength in WAVES:
            noise = ndimage.gaussian_filter(rng.standard_normal((HEIGHT, WIDTH), np.float32), width, truncate=3)
            field += strength * noise / noise.std()
        wins = field > best
        labels[wins], best[wins] = label, field[wins]
    np.save(sys.argv[1], labels)


if __name__ == "__main__":
    main()
