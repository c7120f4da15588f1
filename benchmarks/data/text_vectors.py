"""A stand-in for the text features of method tpro: no text encoder is at hand where benchmarks run.

Every class name becomes the sum of pseudo-random directions, one for each of its groups of three letters. Similar names
get similar vectors; there is NO KNOWLEDGE of pathology in them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsi_lpd.methods.tpro.vectors import write_vectors
from wsi_lpd.types import Float32Array

VECTORS_FILE = "vectors.npz"
"""Their file in the folder of every cohort."""
CLASS_DIM, KNOWLEDGE_DIM = 512, 768
"""Those of MedCLIP and ClinicalBERT, the text encoders of the published recipe."""
LETTERS = 3


def write_stand_in(path: Path, class_names: Sequence[str]) -> None:
    """Writes the file of vectors for `model.vectors`."""
    write_vectors(path, class_names, hashed(class_names, CLASS_DIM), hashed(class_names, KNOWLEDGE_DIM))


def hashed(names: Sequence[str], dim: int) -> Float32Array:
    """Unit vectors of names, (N, dim)."""
    vectors = np.zeros((len(names), dim), np.float32)
    for row, name in enumerate(names):
        padded = f" {name.lower()} "
        for i in range(len(padded) - LETTERS + 1):
            seed = zlib.crc32(padded[i : i + LETTERS].encode())
            vectors[row] += np.random.default_rng(seed).standard_normal(dim)
        vectors[row] /= np.linalg.norm(vectors[row])
    return vectors
