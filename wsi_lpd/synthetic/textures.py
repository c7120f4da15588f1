"""The list of textures, the class of each, and the set of swatches of one slide."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from wsi_lpd.types import AnyArray, UInt8Array

from . import cell_swatches, tissue_swatches
from .canvas import Canvas, Layer
from .cells import Cells, make_cells
from .stain import Stain, stained

SYNTHETIC_CLASSES: Final = ("Tumor", "Stroma", "Immune cells", "Necrosis")
TUMOR, STROMA, IMMUNE, NECROSIS = range(1, 5)
"""Values in the truth image; 0 is glass."""


class Texture(IntEnum):
    """The textures of pixels."""

    GLASS = 0
    SOLID_TUMOR = 1
    GLAND = 2
    LUMEN = 3
    CLEAR_TUMOR = 4
    COLLAGEN = 5
    MYXOID = 6
    CELLULAR_STROMA = 7
    DENSE_LYMPHOCYTES = 8
    SPARSE_LYMPHOCYTES = 9
    GERMINAL_CENTRE = 10
    GHOST_NECROSIS = 11
    DUST_NECROSIS = 12


CLASS_OF: Final = np.array([0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4], np.uint8)
"""Truth value of each texture."""

_DRAW: Final[dict[Texture, Callable[[Canvas], Layer]]] = {
    Texture.GLASS: tissue_swatches.glass,
    Texture.SOLID_TUMOR: tissue_swatches.solid_tumour,
    Texture.GLAND: tissue_swatches.gland_epithelium,
    Texture.LUMEN: tissue_swatches.lumen,
    Texture.CLEAR_TUMOR: tissue_swatches.clear_tumour,
    Texture.COLLAGEN: tissue_swatches.collagen,
    Texture.MYXOID: tissue_swatches.myxoid_stroma,
    Texture.CELLULAR_STROMA: tissue_swatches.cellular_stroma,
    Texture.DENSE_LYMPHOCYTES: cell_swatches.dense_lymphocytes,
    Texture.SPARSE_LYMPHOCYTES: cell_swatches.sparse_lymphocytes,
    Texture.GERMINAL_CENTRE: cell_swatches.germinal_centre,
    Texture.GHOST_NECROSIS: cell_swatches.ghost_necrosis,
    Texture.DUST_NECROSIS: cell_swatches.dust_necrosis,
}


@dataclass(frozen=True)
class Swatches:
    """The swatches of all textures of one slide."""

    side_px: int
    pixels: AnyArray
    """uint32 (n textures * side * side): R, G, B and an unused byte, in this order in memory."""
    cells: Cells


def make_swatches(side_px: int, px_per_um: float, stain: Stain, seed: int, pool: Executor) -> Swatches:
    """Draws the seamless swatches of a slide; every seed has its own nuclei and fibres."""
    cells = make_cells(side_px, px_per_um, np.random.default_rng([seed, 201]))

    def draw(texture: Texture) -> UInt8Array:
        rng = np.random.default_rng([seed, 202, int(texture)])
        layer = _DRAW[texture](Canvas(cells, px_per_um, rng))
        return stained(layer.haematoxylin, layer.eosin, stain, rng)

    pixels = np.zeros((len(Texture), side_px, side_px, 4), np.uint8)
    for texture, rgb in zip(Texture, pool.map(draw, Texture), strict=True):
        pixels[texture, ..., :3] = rgb
    return Swatches(side_px, pixels.reshape(-1, 4).view(np.uint32).ravel(), cells)
