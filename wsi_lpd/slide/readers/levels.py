"""Which levels of a pyramid show the slide: a level is used only if it shows what the finer ones show, where they do.

Files flag photographs of the glass, labels and padded copies as smaller versions of the slide, and every library
believes the flag. Two things are asked of a level: that both its sides are smaller by one factor, and that at a few
places full of structure it looks like the finer level, made smaller.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from wsi_lpd.errors import SlideError
from wsi_lpd.images.resize import resize
from wsi_lpd.slide.readers.byte_source import is_remote
from wsi_lpd.slide.readers.reader import Level, SlideReader
from wsi_lpd.types import Float32Array, Size, UInt8Array

_ROUNDING_PX: Final = 2.0
"""By how many of its own pixels a level's side may be off: halving rounds, a few times over."""
_ROUNDING: Final = 0.01

_OVERVIEW_PX: Final = 2**20
"""A level up to this size is looked at as a whole to find structure."""
_PLACE_PX: Final = 128
_LOOK_PX: Final = 64
"""Sides of a place: in pixels of the coarser level, and as compared, where grain and JPEG's noise are averaged away."""
_LEAST_PX: Final = 32
"""Levels with a shorter side are used for nothing that such a place could tell."""
_LARGEST_PX: Final = 2048
"""Longest side that is read of the finer level."""
_N_PLACES: Final = 4
_STRUCTURE: Final = 6.0
"""Standard deviation of grey values, of 255, from which a place has structure: glass and JPEG noise have less."""
_ALIKE: Final = 0.6
"""Correlation of a place from which both levels show the same."""
_SHIFT: Final = 2
"""By how many of its `_LOOK_PX` pixels a place may lie elsewhere: four pixels of the level."""
_AS_GOOD: Final = 0.05
"""By how much the correlation may be higher elsewhere."""
_SAME_COLOUR: Final = 25.0
"""Where nothing has structure: mean difference of colour, of 255, up to which both levels show the same."""


class _Place(NamedTuple):
    """A place as shares of the slide's sides, its centre."""

    x: float
    y: float


_SPREAD_OUT: Final = (_Place(0.3, 0.35), _Place(0.65, 0.3), _Place(0.4, 0.7), _Place(0.7, 0.65))
"""Where to look in a pyramid of large levels only."""


class Pyramid:
    """A reader without some of its levels; indices count those that are left."""

    def __init__(self, reader: SlideReader, dropped: Mapping[int, str]) -> None:
        """`dropped` names why, by index of the level."""
        self._reader = reader
        self._kept = [i for i in range(len(reader.levels)) if i not in dropped]
        self.name = reader.name
        self.location = reader.location
        self.vendor = reader.vendor
        self.levels: tuple[Level, ...] = tuple(reader.levels[i] for i in self._kept)
        self.sources = self.levels
        self.background = reader.background
        self.properties = reader.properties
        self.associated = reader.associated
        self.warnings: tuple[str, ...] = tuple(_warning(reader.levels[i].size_px, why) for i, why in dropped.items())

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """See `SlideReader`."""
        return self._reader.read_region(x, y, self._kept[source], width, height)

    def forget(self) -> None:
        """See `SlideReader`."""
        self._reader.forget()

    def close(self) -> None:
        """See `SlideReader`."""
        self._reader.close()


def with_true_levels(reader: SlideReader) -> SlideReader:
    """The reader, less the levels that do not show the slide.

    Of a remote slide only the sides of the levels are compared: each place would be a request.
    """
    dropped = dict(_out_of_shape(reader.levels))
    if not is_remote(reader.location):
        dropped |= _unlike(reader, [i for i in range(len(reader.levels)) if i not in dropped])
    return Pyramid(reader, dict(sorted(dropped.items()))) if dropped else reader


def _warning(size: Size, why: str) -> str:
    return f"its level of {size.width}x{size.height} px {why}; it is not used"


def _out_of_shape(levels: Sequence[Level]) -> Iterator[tuple[int, str]]:
    """Levels whose sides are not smaller by one factor, or that are larger than level 0."""
    whole = levels[0].size_px
    for i, level in enumerate(levels[1:], start=1):
        size = level.size_px
        factors = whole.width / size.width, whole.height / size.height
        slack = _ROUNDING + _ROUNDING_PX / min(size)
        if min(factors) < 1:
            yield i, "is larger than level 0"
        elif max(factors) / min(factors) > 1 + slack:
            yield i, f"is {factors[0]:.4g} times as narrow but {factors[1]:.4g} times as low as level 0"


def _unlike(reader: SlideReader, levels: Sequence[int]) -> dict[int, str]:
    """Levels that show something else than the next finer one that shows the slide."""
    dropped: dict[int, str] = {}
    overviews = {i: _places(reader, i) for i in levels if math.prod(reader.levels[i].size_px) <= _OVERVIEW_PX}
    coarsest = [place for i in list(overviews)[-2:] for place in overviews[i]] or list(_SPREAD_OUT)
    finer = levels[0]
    for level in levels[1:]:
        if min(reader.levels[level].size_px) < _LEAST_PX:
            continue
        if _alike(reader, finer, level, overviews.get(level, coarsest)):
            finer = level
        else:
            dropped[level] = "shows something else than the slide"
    return dropped


def _places(reader: SlideReader, level: int) -> list[_Place]:
    """Places of a level with the most structure."""
    width, height = reader.levels[level].size_px
    try:
        overview = reader.read_region(0, 0, level, width, height)
    except SlideError:
        return []  # damaged: whoever reads it is told
    grey = cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY)
    corners = [(y, x) for y in _starts(height) for x in _starts(width)]
    spreads = [grey[y : y + _PLACE_PX, x : x + _PLACE_PX].std() for y, x in corners]
    best = np.argsort(spreads)[::-1][:_N_PLACES]
    half_x, half_y = min(_PLACE_PX, width) / 2, min(_PLACE_PX, height) / 2
    return [_Place((corners[i][1] + half_x) / width, (corners[i][0] + half_y) / height) for i in best]


def _starts(length: int) -> range:
    return range(0, max(1, length - _PLACE_PX + 1), _PLACE_PX // 2)


def _alike(reader: SlideReader, finer: int, coarser: int, places: Sequence[_Place]) -> bool:
    """Whether two levels show the same at most places with structure; without any, whether their colours agree."""
    try:
        looks = [(_look(reader, finer, coarser, place), _look(reader, coarser, coarser, place)) for place in places]
    except SlideError:
        return True  # damaged there: whoever reads it is told
    agree = [_agree(a, b) for a, b in looks if max(_spread(a), _spread(b)) >= _STRUCTURE]
    if not agree:
        return all(float(np.abs(a.mean((0, 1)) - b.mean((0, 1))).mean()) <= _SAME_COLOUR for a, b in looks)
    return 2 * sum(agree) > len(agree)


def _look(reader: SlideReader, level: int, coarser: int, place: _Place) -> Float32Array:
    """A place, as large as `_PLACE_PX` pixels of the coarser level, seen in `level`."""
    width, height = reader.levels[level].size_px
    size = reader.levels[coarser].size_px
    side = min(_PLACE_PX, *size, max(1, int(_LARGEST_PX * size.width / width)))
    columns, rows = _span(place.x, side / size.width, width), _span(place.y, side / size.height, height)
    pixels = reader.read_region(columns.start, rows.start, level, len(columns), len(rows))
    return resize(pixels, Size(_LOOK_PX, _LOOK_PX)).astype(np.float32)


def _span(centre: float, share: float, length: int) -> range:
    """Pixels of a line of `length` around a centre, both as shares of it."""
    count = min(length, max(1, round(share * length)))
    start = min(max(0, round(centre * length - count / 2)), length - count)
    return range(start, start + count)


def _spread(look: Float32Array) -> float:
    return float(look.mean(axis=2).std())


def _agree(a: Float32Array, b: Float32Array) -> bool:
    """Whether the middle of `a` is found in `b`, and where it should be: along a straight edge it fits anywhere."""
    margin = _LOOK_PX // 4
    middle = a.mean(axis=2)[margin:-margin, margin:-margin]
    if float(middle.std()) < 1e-3 or _spread(b) < 1e-3:
        return False
    fits = np.nan_to_num(cv2.matchTemplate(b.mean(axis=2), middle, cv2.TM_CCOEFF_NORMED), nan=-1)
    near = slice(margin - _SHIFT, margin + _SHIFT + 1)
    here = float(fits[near, near].max())
    return here >= _ALIKE and here >= float(fits.max()) - _AS_GOOD
