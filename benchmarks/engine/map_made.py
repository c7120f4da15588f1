"""The label map that all exporters get: five classes, some 16,000 regions, with holes and background.

python map_made.py OUT.npy
"""

from __future__ import annotations

import sys

import numpy as np
from scipy import ndimage

HEIGHT, WIDTH = 5120, 5120
N_CLASSES = 5
GRAIN_PX = 10.0


def main() -> None:
    """Writes (HEIGHT, WIDTH) uint8, 0 to N_CLASSES."""
    rng = np.random.default_rng(5)
    best = np.full((HEIGHT, WIDTH), -np.inf, np.float32)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label in range(N_CLASSES + 1):
        field = ndimage.gaussian_filter(rng.standard_normal((HEIGHT, WIDTH), np.float32), GRAIN_PX, truncate=3)
        wins = field > best
        labels[wins], best[wins] = label, field[wins]
    np.save(sys.argv[1], labels)


if __name__ == "__main__":
    main()
