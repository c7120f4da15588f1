"""What every slide reader offers, and how a reader keeps its file handle per process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from wsi_lpd.errors import SlideError
from wsi_lpd.types import Size, UInt8Array

Handle = TypeVar("Handle")


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


class PerProcess(Generic[Handle]):
    """A file handle that is opened once per process, and stays behind when its owner is pickled.

    Handles hold locks, caches and file positions that a fork would share or leave locked for ever, so a child
    never touches, nor even closes, what its parent opened.
    """

    def __init__(self, open_handle: Callable[[], Handle]) -> None:
        self._open_handle = open_handle
        self._handles: dict[int, Handle] = {}

    def get(self) -> Handle:
        """This process's handle; when two threads come at once, both get the one that was entered first."""
        handle = self._handles.get(os.getpid())
        return self._handles.setdefault(os.getpid(), self._open_handle()) if handle is None else handle

    def replace(self, dead: Handle, fresh: Handle) -> None:
        """Puts `fresh` in the place of `dead`, unless another thread did so already."""
        if self._handles.get(os.getpid()) is dead:
            self._handles[os.getpid()] = fresh

    def pop(self) -> Handle | None:
        """Forgets and returns this process's handle."""
        return self._handles.pop(os.getpid(), None)

    def __getstate__(self) -> dict[str, Any]:
        return {"_open_handle": self._open_handle, "_handles": {}}


def levels_of(sizes_px: list[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels from their sizes, finest first."""
    width, height = sizes_px[0]
    return tuple(Level(Size(w, h), (width / w + height / h) / 2) for w, h in sizes_px)
