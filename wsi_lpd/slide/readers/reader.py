"""What every slide reader offers, and how a reader keeps its file handle per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wsi_lpd.errors import SlideError
from wsi_lpd.types import Size, UInt8Array


class UnknownFormatError(SlideError):
    """A reader has no idea what the file is, which is not to say that it is broken; another one may know."""


@dataclass(frozen=True)
class Level:
    """One level of a pyramid.

    Attributes:
        size_px: Its width and height, in its own pixels.
        downsample: Level-0 pixels per pixel of this level, the mean of both axes (as OpenSlide counts).
        reduction: By what a reader makes it smaller from a level of the file while decoding; the last pixel of an odd
            side then stands for less than a whole one.
        reduced_from: Size of that level, or None.
    """

    size_px: Size
    downsample: float
    reduction: int = 1
    reduced_from: Size | None = None

    @property
    def extent_px(self) -> tuple[float, float]:
        """Width and height of the slide in pixels of this level, fractions included."""
        width, height = self.size_px if self.reduced_from is None else self.reduced_from
        return width / self.reduction, height / self.reduction


class SlideReader(Protocol):
    """Anything that can tell the levels of a slide and hand out their pixels.

    A reader opens its file when it is made, so that a broken one fails early, and opens it again in every other
    process that it travels to, by pickling or by a fork. It is safe to read from several threads.
    """

    name: str
    location: str
    vendor: str | None
    levels: tuple[Level, ...]
    sources: tuple[Level, ...]
    """What `read_region` hands out: the levels and, behind them, sizes that the reader makes from one at less cost."""
    background: tuple[int, int, int]
    properties: Mapping[str, str]
    """All that the file states, people's names included: `Slide` passes on what is safe."""
    associated: tuple[str, ...]
    warnings: tuple[str, ...]
    """What is odd about the file, a sentence each."""

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """Pixels of a region that lies inside the source, composited on the background colour.

        Args:
            x: Left edge, in pixels of `source`.
            y: Upper edge, in pixels of `source`.
            source: Index into `sources`; a level has the same index as in `levels`.
            width: Width, in pixels of `source`.
            height: Height, in pixels of `source`.

        Returns:
            RGB (height, width, 3), not shared with anyone.

        Raises:
            SlideError: If the file is damaged there.
        """
        ...

    def forget(self) -> None:
        """Drops what was decoded and kept for later reads."""
        ...

    def close(self) -> None:
        """Gives back this process's file handle; a later read opens it again."""
        ...


def levels_of(sizes_px: list[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels from their sizes, finest first."""
    width, height = sizes_px[0]
    return tuple(Level(Size(w, h), (width / w + height / h) / 2) for w, h in sizes_px)
