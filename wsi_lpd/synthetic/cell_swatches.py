"""Draws the swatches of lymphocytes and necrosis; `textures` lists them."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Layer
from .nuclei import NucleusKind

_LYMPHOCYTE = NucleusKind(6.7, 6.2, 1.38, 0.09, 0.15, 0.045, clumps=0.32, clump_um=1.2, rim=0.25, softness_um=0.2)


def dense_lymphocytes(b: Canvas) -> Layer:
    """A sheet of small, round, dark nuclei with next to no cytoplasm."""
    nuclei, cover = b.nuclei(_LYMPHOCYTE, b.pick(5.6, keep=0.97, where=0.10 * b.noise(40)), jitter_um=0.5)
    ground = np.clip(0.24 + 0.07 * b.noise(5), 0, None)
    return Layer(nuclei + (0.12 + 0.05 * b.noise(8)) * (1 - cover), ground * (1 - 0.3 * cover))


def sparse_lymphocytes(b: Canvas) -> Layer:
    """Lymphocytes and plasma cells scattered through a pink, fibrillary ground."""
    angle = b.flow(90, 1.0)
    strands = b.fibres(angle, 20, 1.9) * np.clip(0.7 + 0.4 * b.noise(18), 0.1, 1.3)
    crowd = 0.7 * b.noise(42)
    nuclei, cover = b.nuclei(_LYMPHOCYTE, b.pick(7.4, keep=0.46, where=crowd), jitter_um=1.0)
    plasma = NucleusKind(7.2, 6.2, 1.15, 0.1, 0.15, 0.05, clumps=0.55, clump_um=1.8, rim=0.35)
    others, others_cover = b.nuclei(plasma, b.pick(11, keep=0.28, where=-0.5 * crowd), jitter_um=1.0)
    cover = np.maximum(cover, others_cover)
    eosin = np.clip(0.40 + 0.075 * strands + 0.06 * b.noise(14) + 0.03 * b.noise(1.4), 0.03, None)
    return Layer(np.maximum(nuclei, others) + np.clip(0.10 + 0.04 * strands, 0, None), eosin * (1 - 0.4 * cover))


def germinal_centre(b: Canvas) -> Layer:
    """The paler centre of a follicle: larger, open nuclei of blasts, some lymphocytes, tingible bodies."""
    blast = NucleusKind(9.0, 8.0, 0.80, 0.15, 0.2, 0.07, clumps=0.36, clump_um=1.4, rim=0.55, nucleoli=2)
    nuclei, cover = b.nuclei(blast, b.pick(8.6, keep=0.85))
    small, small_cover = b.nuclei(_LYMPHOCYTE, b.pick(9.5, keep=0.34))
    cover = np.maximum(cover, small_cover)
    eosin = 0.27 + 0.05 * b.noise(10) + 0.03 * b.noise(2)
    return Layer(np.maximum(nuclei, small) + 0.14 * (1 - cover), eosin * (1 - 0.4 * cover))


def ghost_necrosis(b: Canvas) -> Layer:
    """Coagulative necrosis: smudged pink cells without nuclei, some faded ghost nuclei, granular debris."""
    cells = b.pick(10.5)
    ghosts, ghost_cover = b.nuclei(
        NucleusKind(8.0, 6.6, 0.26, 0.2, 0.4, 0.1, clumps=0.2, rim=0.2, softness_um=1.0), b.pick(10.4, keep=0.5)
    )
    border = b.cell_borders(cells, 2.0)
    eosin = 0.55 + 0.09 * b.noise(16) + 0.09 * b.noise(3.5) + 0.07 * b.noise(1.4) - 0.22 * border
    cracks = np.clip(b.noise(9) - 1.75, 0, 0.8)
    debris = b.dust(700, 0.9, 0.8 * b.noise(30), 1.15)
    return Layer(
        ghosts + debris + 0.07 + 0.02 * b.noise(5), np.clip(eosin - 0.5 * cracks, 0.04, None) - 0.1 * ghost_cover
    )


def dust_necrosis(b: Canvas) -> Layer:
    """Karyorrhexis: dark nuclear dust of all sizes and shrunken black nuclei in dirty, granular pink."""
    clump = 0.7 * b.noise(35)
    fine = b.dust(9_000, 0.75, clump, 1.2)
    coarse = b.dust(3_600, 1.45, clump, 1.45)
    shrunken, cover = b.nuclei(
        NucleusKind(5.4, 4.4, 1.65, 0.25, 0.2, 0.14, clumps=0.1, rim=0), b.pick(8.5, keep=0.30, where=clump)
    )
    eosin = 0.42 + 0.10 * b.noise(12) + 0.10 * b.noise(2.4) + 0.05 * b.noise(1.2)
    holes = np.clip(b.noise(7) - 1.5, 0, 0.8)
    dark = np.maximum(np.maximum(fine, coarse), shrunken)
    return Layer(dark + 0.16 + 0.05 * b.noise(4), np.clip(eosin - 0.55 * holes, 0.04, None) * (1 - 0.4 * cover))
