"""The interface of all slide readers, and file handles opened once per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wsi_lpd.errors import SlideError
from wsi_lpd.types import Size, UInt8Array


class UnknownFormatError(SlideError):
    """A reader does not recognise the file, which need not be damaged; another reader may support it."""


@dataclass(frozen=True)
class Level:
    """One level of a pyramid.

    Attributes:
        size_px: Its width and height, in its own pixels.
        downsample: Level-0 pixels per pixel of this level, the mean of both axes (as in OpenSlide).
        reduction: Factor by which a reader shrinks a level of the file while decoding; the last pixel of an odd side
            then covers less than a full pixel.
        reduced_from: Size of the original level, or None.
    """

    size_px: Size
    downsample: float
    reduction: int = 1
    reduced_from: Size | None = None

    @property
    def extent_px(self) -> tuple[float, float]:
        """Width and height of the slide in pixels of this level, with fractions."""
        width, height = self.size_px if self.reduced_from is None else self.reduced_from
        return width / self.reduction, height / self.reduction


class SlideReader(Protocol):
    """Anything that states the levels of a slide and reads their pixels.

    A reader opens its file on creation, so that a damaged one fails early, and opens it again in every other process
    that it reaches by pickling or forking. Reading is thread-safe.
    """

    name: str
    location: str
    vendor: str | None
    levels: tuple[Level, ...]
    sources: tuple[Level, ...]
    """What `read_region` can read: the levels, followed by reduced sizes that cost less than their level."""
    background: tuple[int, int, int]
    properties: Mapping[str, str]
    """All properties of the file, including names of people; `Slide` passes on only the safe ones."""
    associated: tuple[str, ...]
    warnings: tuple[str, ...]
    """What is odd about the file, a sentence each."""

    def read_region(self, x: int, y: int, source: int, width: int, height: int) -> UInt8Array:
        """Pixels of a region inside the source, composited on the background colour.

        Args:
            x: Left edge, in pixels of `source`.
            y: Upper edge, in pixels of `source`.
            source: Index into `sources`; a level has the same index as in `levels`.
            width: Width, in pixels of `source`.
            height: Height, in pixels of `source`.

        Returns:
            RGB (height, width, 3), owned by the caller.

        Raises:
            SlideError: If the file is damaged there.
        """
        ...

    def forget(self) -> None:
        """Empties the cache of decoded pixels."""
        ...

    def close(self) -> None:
        """Closes this process's file handle; a later read opens the file again."""
        ...


def levels_of(sizes_px: list[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels from their sizes, finest first."""
    width, height = sizes_px[0]
    return tuple(Level(Size(w, h), (width / w + height / h) / 2) for w, h in sizes_px)
