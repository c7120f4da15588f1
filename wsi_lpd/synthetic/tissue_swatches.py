"""Draws the swatches of tumour, stroma and glass; `textures` lists them."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Layer
from .nuclei import NucleusKind


def glass(b: Canvas) -> Layer:
    """Empty glass with a little dust."""
    grain = np.clip(b.noise(3) - 2.9, 0, None) * 0.10
    return Layer(grain + 0.004 * b.noise(12), grain * 0.5 + 0.004)


def solid_tumour(b: Canvas) -> Layer:
    """Sheets of large vesicular nuclei with nucleoli in amphophilic cytoplasm, cell borders faintly seen."""
    cells = b.pick(8.3, keep=0.95)
    kind = NucleusKind(9.2, 7.6, 0.78, 0.15, 0.20, 0.06, clumps=0.24, clump_um=1.2, rim=0.45, nucleoli=2)
    nuclei, cover = b.nuclei(kind, cells)
    border = b.cell_borders(cells, 0.9)
    cytoplasm = 0.40 + 0.06 * b.noise(14) + 0.045 * b.noise(1.6) + 0.12 * border
    basophilia = 0.20 + 0.05 * b.noise(25) + 0.03 * b.noise(2.2)
    return Layer(nuclei + basophilia * (1 - cover), cytoplasm * (1 - 0.55 * cover))


def gland_epithelium(b: Canvas) -> Layer:
    """Crowded, dark, elongated nuclei, overlapping, with little cytoplasm, as in adenocarcinoma."""
    angle = b.flow(60, 1.0)
    cells = b.pick(7.4, keep=0.90)
    kind = NucleusKind(10.4, 6.0, 1.02, 0.14, 0.17, 0.06, clumps=0.26, clump_um=1.0, rim=0.25, nucleoli=1)
    nuclei, cover = b.nuclei(kind, cells, angle, jitter_um=1.0)
    cytoplasm = 0.46 + 0.07 * b.noise(9) + 0.05 * b.noise(1.5)
    return Layer(nuclei + (0.22 + 0.05 * b.noise(6)) * (1 - cover), cytoplasm * (1 - 0.5 * cover))


def clear_tumour(b: Canvas) -> Layer:
    """Polygonal cells with pale, vacuolated cytoplasm, crisp membranes and small dark nuclei."""
    cells = b.pick(11.0, keep=0.98)
    kind = NucleusKind(7.4, 6.6, 0.98, 0.14, 0.18, 0.06, clumps=0.22, rim=0.25, nucleoli=1)
    nuclei, cover = b.nuclei(kind, cells, jitter_um=1.4)
    border = b.cell_borders(cells, 1.3)
    foam = np.clip(0.13 + 0.05 * b.noise(4) + 0.06 * b.noise(2), 0.02, None)
    return Layer(nuclei + (0.05 + 0.12 * border) * (1 - cover), (foam + 0.36 * border) * (1 - 0.5 * cover))


def lumen(b: Canvas) -> Layer:
    """The inside of a gland: nearly empty, wisps of pale secretion, a shed cell here and there."""
    wisp = np.clip(b.noise(22) * 0.7 + b.noise(6) * 0.4 - 0.35, 0, 1.5)
    nuclei, _ = b.nuclei(NucleusKind(4.6, 4.2, 1.2, 0.3, clumps=0.1, rim=0), b.pick(26, keep=0.16))
    return Layer(nuclei + 0.04 * wisp, 0.02 + 0.17 * wisp + 0.5 * np.clip(nuclei, 0, 0.25))


def collagen(b: Canvas) -> Layer:
    """Wavy bundles of pink collagen with clefts between them and sparse spindle nuclei along them."""
    angle = b.flow(110, 0.75)
    bundles = b.fibres(angle, 60, 6.5)
    strands = b.fibres(angle, 26, 1.8)
    uneven = np.clip(0.55 + 0.45 * b.noise(22), 0.05, 1.3)  # some bundles are hyaline, others fibrillar
    cleft = np.clip(bundles * 0.8 + 0.5 * strands - 1.5, 0, 0.8)
    eosin = (0.48 + 0.09 * b.noise(18) - 0.06 * bundles + 0.085 * uneven * strands + 0.02 * b.noise(1.5)) * (1 - cleft)
    spindle = NucleusKind(13.5, 2.9, 1.05, 0.22, 0.2, 0.05, clumps=0.2, rim=0.1)
    nuclei, cover = b.nuclei(spindle, b.pick(11, keep=0.28), angle)
    round_, round_cover = b.nuclei(NucleusKind(6.2, 5.6, 1.35, 0.1, clumps=0.4), b.pick(12, keep=0.05))
    cover = np.maximum(cover, round_cover)
    base = np.clip(0.06 + 0.02 * strands, 0, None) * (1 - cleft)
    return Layer(np.maximum(nuclei, round_) + base, np.clip(eosin, 0.01, None) * (1 - 0.4 * cover))


def myxoid_stroma(b: Canvas) -> Layer:
    """Loose, pale, bluish ground with wispy fibres, stellate cells and empty spaces."""
    angle = b.flow(60, 1.5)
    wisps = b.fibres(angle, 14, 1.4)
    crossing = b.fibres(b.flow(45, 1.5), 12, 1.2)
    pools = b.noise(28)
    mesh = np.clip(0.45 + 0.38 * wisps + 0.30 * crossing + 0.25 * b.noise(9), 0, 2.0)
    ground = np.clip(0.10 + 0.05 * pools + 0.02 * b.noise(3), 0.015, None)
    stellate = NucleusKind(10.5, 4.0, 0.88, 0.25, 0.2, 0.16, clumps=0.25, rim=0.15)
    nuclei, cover = b.nuclei(stellate, b.pick(12, keep=0.34), angle)
    round_, round_cover = b.nuclei(NucleusKind(6.2, 5.7, 1.35, 0.1, clumps=0.4), b.pick(12, keep=0.05))
    cover = np.maximum(cover, round_cover)
    return Layer(np.maximum(nuclei, round_) + (ground + 0.05 * mesh) * (1 - cover), 0.035 + 0.11 * mesh + 0.12 * cover)


def cellular_stroma(b: Canvas) -> Layer:
    """Desmoplastic stroma: many plump spindle cells in streams, with stray lymphocytes."""
    angle = b.flow(85, 0.9)
    strands = b.fibres(angle, 26, 2.2) * np.clip(0.75 + 0.4 * b.noise(20), 0.1, 1.4)
    plump = NucleusKind(12.5, 4.3, 0.85, 0.18, 0.2, 0.07, clumps=0.28, rim=0.35, nucleoli=1)
    nuclei, cover = b.nuclei(plump, b.pick(8.6, keep=0.50, where=0.5 * b.noise(50)), angle)
    stray, stray_cover = b.nuclei(
        NucleusKind(6.4, 5.9, 1.4, 0.08, clumps=0.4, rim=0.2), b.pick(9, keep=0.07, where=b.noise(60))
    )
    cover = np.maximum(cover, stray_cover)
    eosin = np.clip(0.40 + 0.085 * strands + 0.06 * b.noise(12) + 0.025 * b.noise(1.4), 0.03, None)
    return Layer(np.maximum(nuclei, stray) + np.clip(0.11 + 0.04 * strands, 0, None), eosin * (1 - 0.45 * cover))
