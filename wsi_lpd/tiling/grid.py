"""The positions of a slide's patches, and the reads that fetch them. Pure arithmetic; no files, no pixels.

Edge rule: every patch lies entirely inside the area (the remainder at the right and the bottom, less than one step plus
a patch, is left out), unless the area is narrower or lower than one patch: then one patch starts at the left or upper
edge and extends beyond the opposite one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsi_lpd.errors import ConfigError
from wsi_lpd.types import Box, Int64Array, Size

READ_SIDE_PX = 2048
"""Target side of one read, in pixels of the level it is read from: 28 MB as RGBA and RGB, and large compared with the
border of native tiles (256 px) that is decoded twice."""

READ_BYTES = 32 * 2**20
"""Maximum size of the patches cut from one read, so that a small stride cannot fill the memory."""

READ_PATCHES_PER_SIDE = 16
"""Maximum number of patches along one side of a read."""

READ_COST_PX = 256**2
"""Cost of an additional read, in pixels: about one more native tile is decoded."""


@dataclass(frozen=True)
class PatchGrid:
    """A regular grid of square patches on a slide.

    Attributes:
        area: The tiled part of the slide, level-0 px.
        scale: Level-0 pixels per patch pixel.
        patch_px: Side of a patch, in patch pixels.
        step_px: Distance between neighbouring patches, in patch pixels.
        columns: Number of patches along x.
        rows: Number of patches along y.
    """

    area: Box
    scale: float
    patch_px: int
    step_px: int
    columns: int
    rows: int

    @property
    def side(self) -> int:
        """Side of a patch in level-0 px."""
        return _side(self.patch_px, self.scale)

    def cells(self) -> Int64Array:
        """(column, row) of every patch, row by row, (rows * columns, 2)."""
        row, column = np.divmod(np.arange(self.rows * self.columns, dtype=np.int64), self.columns)
        return np.stack([column, row], axis=1)

    def boxes(self, cells: Int64Array) -> Int64Array:
        """(x, y, width, height) in level-0 px of the patches at `cells` (N, 2); (N, 4)."""
        corners = np.floor(cells * (self.step_px * self.scale) + 0.5).astype(np.int64)
        corners += np.array([self.area.x, self.area.y], dtype=np.int64)
        return np.concatenate([corners, np.full_like(corners, self.side)], axis=1)


@dataclass(frozen=True)
class Read:
    """One read of the slide and the patches cut from it.

    Attributes:
        box: The region that is read, level-0 px.
        size_px: Size that the region is scaled to, patch pixels.
        first: Index in the store of the first patch; the others follow.
        offsets_px: Upper left corner of each patch in the scaled read, (n, 2) as x, y.
    """

    box: Box
    size_px: Size
    first: int
    offsets_px: Int64Array


def lay_grid(area: Box, *, slide_mpp: float, mpp: float, patch_px: int, step_px: int) -> PatchGrid:
    """Lays the grid of patches over `area`; the module's docstring states the edge rule.

    Raises:
        ConfigError: If two neighbouring patches would start at the same level-0 pixel.
    """
    scale = mpp / slide_mpp
    if step_px * scale < 1:
        raise ConfigError(
            f"tile.stride_px: {step_px} px at {mpp:g} um/px is {step_px * scale:.2f} level-0 px of this slide; "
            f"expected at least 1; set it to {math.ceil(1 / scale)} or more"
        )
    columns = axis_count(area.width, patch_px=patch_px, step_px=step_px, scale=scale)
    rows = axis_count(area.height, patch_px=patch_px, step_px=step_px, scale=scale)
    return PatchGrid(area, scale, patch_px, step_px, columns, rows)


def axis_count(length: int, *, patch_px: int, step_px: int, scale: float) -> int:
    """Number of patches along an axis of `length` level-0 px: all that lie entirely inside, at least one."""
    side = _side(patch_px, scale)
    count = int(max(length - side, 0) / (step_px * scale)) + 2  # too many, reduced below after rounding
    while count > 1 and math.floor((count - 1) * step_px * scale + 0.5) + side > length:
        count -= 1
    return count


def patches_per_read(grid: PatchGrid, level_downsample: float) -> int:
    """Patches along one side of a read from the level with this downsample."""
    step_level_px = grid.step_px * grid.scale / level_downsample
    patch_level_px = grid.patch_px * grid.scale / level_downsample
    by_side = int((READ_SIDE_PX - patch_level_px) // step_level_px) + 1
    by_bytes = math.isqrt(READ_BYTES // (3 * grid.patch_px**2))
    return max(1, min(by_side, by_bytes, READ_PATCHES_PER_SIDE))


def plan_reads(grid: PatchGrid, cells: Int64Array, *, per_side: int) -> tuple[Int64Array, list[Read]]:
    """Groups patches into reads of up to `per_side` x `per_side` patches, band by band from the top.

    Args:
        grid: The grid.
        cells: (column, row) of the patches, (N, 2).
        per_side: Patches along one side of a read.

    Returns:
        The order of the patches in the store (indices into `cells`, (N,)): bands from top to bottom, reads of a band
        from left to right, patches of a read row by row; and the reads in that order. Both depend only on the
        arguments, so a resumed run makes the same reads.
    """
    column, row = cells[:, 0], cells[:, 1]
    order = np.lexsort((column, row, column // per_side, row // per_side))
    cells = cells[order]
    block = cells // per_side
    borders = np.flatnonzero(np.any(block[1:] != block[:-1], axis=1)) + 1
    reads: list[Read] = []
    for first, end in itertools.pairwise(sorted({0, *borders.tolist(), len(cells)})):
        reads.extend(_reads_of_block(grid, cells[first:end], first))
    return order.astype(np.int64), reads


def _reads_of_block(grid: PatchGrid, cells: Int64Array, first: int) -> list[Read]:
    """The cheapest of: one read for all patches, one per row of consecutive patches, one per patch."""
    breaks = np.flatnonzero((np.diff(cells[:, 1]) != 0) | (np.diff(cells[:, 0]) != 1)) + 1
    ways = [[0, len(cells)], [0, *breaks.tolist(), len(cells)], list(range(len(cells) + 1))]
    way = min(ways, key=lambda borders: _cost(grid, cells, borders[:-1]))
    return [_read(grid, cells[a:b], first + a) for a, b in itertools.pairwise(way)]


def _cost(grid: PatchGrid, cells: Int64Array, starts: Sequence[int]) -> int:
    """Cost in pixels of the reads that start at the indices `starts` of `cells` (N, 2)."""
    columns_rows = np.maximum.reduceat(cells, starts) - np.minimum.reduceat(cells, starts)
    sizes_px = columns_rows * grid.step_px + grid.patch_px
    return int((sizes_px[:, 0] * sizes_px[:, 1]).sum()) + READ_COST_PX * len(starts)


def _read(grid: PatchGrid, cells: Int64Array, first: int) -> Read:
    low, high = cells.min(axis=0), cells.max(axis=0)
    # From the first patch's corner to the last one's far corner, so that a read ends with its patches, inside the area.
    (x, y, _, _), (right, bottom, _, _) = grid.boxes(np.stack([low, high]))
    box = Box(int(x), int(y), int(right - x) + grid.side, int(bottom - y) + grid.side)
    width, height = (high - low) * grid.step_px + grid.patch_px
    return Read(box, Size(int(width), int(height)), first, (cells - low) * grid.step_px)


def _side(patch_px: int, scale: float) -> int:
    return max(1, math.floor(patch_px * scale + 0.5))
