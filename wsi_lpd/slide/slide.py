"""The slide: its metadata, and its pixels at any scale."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path, PurePosixPath
from types import MappingProxyType, TracebackType
from typing import cast

from wsi_lpd.errors import SlideError
from wsi_lpd.memory import give_back_freed_blocks
from wsi_lpd.slide.privacy import safe_associated, safe_properties
from wsi_lpd.slide.readers.byte_source import is_remote, open_source
from wsi_lpd.slide.readers.choose import location_of, make_reader
from wsi_lpd.slide.readers.reader import Level, SlideReader
from wsi_lpd.slide.resample import read_area
from wsi_lpd.slide.resolution import missing_mpp_message, objective_power, resolve_mpp
from wsi_lpd.types import Box, Size, UInt8Array

_HASHED_BYTES = 2**20


def open_slide(path: str | Path, *, mpp: float | None = None, reader: str = "auto") -> Slide:
    """Opens a whole-slide image, or a plain image.

    Args:
        path: A file, or the URL of a TIFF slide (`https://`, `s3://`).
        mpp: Micrometres per pixel of level 0, if the file states none or a wrong value.
        reader: `native`, `openslide`, `tiffslide` or `image`; `auto` takes the first that can open the file.

    Raises:
        SlideError: If the file cannot be opened; the message says why and what to do.
    """
    location = location_of(path)
    chosen, reason = make_reader(location, reader)
    return Slide(chosen, reason=reason, mpp=mpp)


class Slide:
    """A slide that is open for reading; also a context manager.

    It can be pickled and used after a fork: every process opens the file itself on its first read. Reading is
    thread-safe.

    Attributes:
        path: The file (of a remote slide: its URL as a path, of which only the name is meaningful).
        location: The file or URL as text.
        name: File name without its extension: `CMU-1.svs` is `CMU-1`, `core.ome.tiff` is `core`.
        size_px: Width and height of level 0.
        reader: Name of the reader: `native`, `openslide`, `tiffslide` or `image`.
        reader_reason: Why that reader was chosen.
        vendor: The scanner family as the reader names it.
        levels: The pyramid, finest first.
        bounds: The scanned area in level-0 pixels, if the file states it (MIRAX, Leica, some TIFFs).
        background: RGB of unscanned areas.
        objective_power: Magnification of the objective, if stated.
        associated: Names of the associated images, except the label image.
        properties: Properties about optics and geometry; none that could identify a person.
        resolution: The micrometres per pixel in use, or None.
        mpp_candidates: All values that were found, each with a verdict.
        warnings: What is odd about the file and its resolution, a sentence each.
    """

    def __init__(self, reader: SlideReader, *, reason: str, mpp: float | None) -> None:
        self._reader = reader
        self.location = reader.location
        self.path = Path(reader.location)
        self.name = slide_name(reader.location)
        self.reader = reader.name
        self.reader_reason = reason
        self.vendor = reader.vendor
        self.levels: tuple[Level, ...] = reader.levels
        self.size_px: Size = reader.levels[0].size_px
        self.background = reader.background
        self.bounds = _bounds(reader.properties)
        self.objective_power = objective_power(reader.properties)
        self.associated = safe_associated(reader.associated)
        self.resolution, self.mpp_candidates = resolve_mpp(reader.properties, explicit=mpp, location=self.location)
        self._properties = safe_properties(reader.properties)
        self.warnings: tuple[str, ...] = (*reader.warnings, *(self.resolution.warnings if self.resolution else ()))

    @property
    def properties(self) -> Mapping[str, str]:
        """See the class."""
        return MappingProxyType(self._properties)

    @property
    def mpp(self) -> float:
        """Micrometres per pixel of level 0.

        Raises:
            SlideError: If they are unknown; the message names `--slide-mpp`.
        """
        if self.resolution is None:
            raise SlideError(missing_mpp_message(self.location, self._properties, self.mpp_candidates))
        return self.resolution.mpp

    @property
    def fingerprint(self) -> str:
        """`sha256:` of the file's size, first and last MiB, which distinguishes slides without reading gigabytes.

        For formats of several files (MIRAX, DICOM series) it is computed from the named file only.
        """
        try:
            with closing(open_source(self.location)) as file:
                n_bytes = file.n_bytes
                count = min(_HASHED_BYTES, n_bytes)
                parts = file.read_all([(0, count), (n_bytes - count, count)])
        except OSError as err:
            raise SlideError(f"{self.location}: cannot be read ({err.strerror or err})") from err
        digest = hashlib.sha256(str(n_bytes).encode())
        for part in parts:
            digest.update(part)
        return f"sha256:{digest.hexdigest()}"

    def read(self, box: Box, size_px: Size) -> UInt8Array:
        """Pixels of `box`, scaled to `size_px`.

        The nearest finer level is averaged over areas. Unscanned and transparent areas, and those outside the slide,
        have the background colour. If `size_px` is larger than the box, level 0 is enlarged.

        Args:
            box: Level-0 pixels; may extend beyond the slide.
            size_px: Width and height of the result.

        Returns:
            RGB (size_px.height, size_px.width, 3).

        Raises:
            SlideError: If the file is damaged there.
            ValueError: If the box or the size is empty.
        """
        if min(box.width, box.height, *size_px) < 1:
            raise ValueError(
                f"box {tuple(box)} and size {tuple(size_px)}: expected at least one pixel in width and height"
            )
        return read_area(self._reader, box, size_px)

    def thumbnail(self, max_side_px: int) -> UInt8Array:
        """The whole slide; its longer side is `max_side_px`, or less if level 0 is smaller."""
        longer = max(self.size_px)
        scale = min(1.0, max_side_px / longer)
        size = Size(max(1, round(self.size_px.width * scale)), max(1, round(self.size_px.height * scale)))
        return self.overview(size)

    def overview(self, size_px: Size) -> UInt8Array:
        """The whole slide at that size. The tile cache is emptied before and after, to save memory."""
        self._forget()
        whole = self.read(Box(0, 0, *self.size_px), size_px)
        self._forget()
        return whole

    def _forget(self) -> None:
        self._reader.forget()
        give_back_freed_blocks()

    def close(self) -> None:
        """Closes this process's file handle; a later read opens the file again."""
        self._reader.close()

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Slide {self.location} {self.size_px.width}x{self.size_px.height} {self.reader}>"


def slide_name(path: str | Path) -> str:
    """File name of a slide without its extension: `CMU-1.svs` is `CMU-1`, `core.ome.tiff` is `core`."""
    location = location_of(path)
    stem = PurePosixPath(location).stem if is_remote(location) else Path(location).stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def _bounds(properties: Mapping[str, str]) -> Box | None:
    for prefix in ("openslide", "tiffslide"):
        texts = [properties.get(f"{prefix}.bounds-{part}") for part in ("x", "y", "width", "height")]
        if all(text is not None and re.fullmatch(r"-?[0-9]+", text) for text in texts):
            return Box(*(int(cast(str, text)) for text in texts))
    return None
