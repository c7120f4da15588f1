"""Chooses the reader for a slide."""

from __future__ import annotations

import functools
import re
from contextlib import closing
from pathlib import Path
from typing import Final

from wsi_lpd.errors import SlideError
from wsi_lpd.images.decode import TIFF_STARTS
from wsi_lpd.process_local import PerProcess
from wsi_lpd.slide.readers.byte_source import is_remote, open_source
from wsi_lpd.slide.readers.levels import with_true_levels
from wsi_lpd.slide.readers.reader import SlideReader, UnknownFormatError

READERS: Final = ("auto", "native", "openslide", "tiffslide", "image")

_GENERIC: Final = "generic-tiff"
_URL: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(/?)(?=[^/])|^file:///")
_IMAGE_STARTS: Final = (b"\x89PNG", b"\xff\xd8\xff", b"BM", *TIFF_STARTS)
_NOT_NATIVE: Final = "{}: has no JPEG tiles that can be decoded directly; use another reader"
_IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def location_of(path: str | Path) -> str:
    """Path or URL of a slide as text; restores the second slash of a URL that went through `Path`."""
    text = str(path)
    match = _URL.match(text)
    if match is None or match.group(1) is None or match.group(2):
        return text
    return text.replace(":/", "://", 1) if not Path(text).exists() else text


def make_reader(location: str, name: str) -> tuple[SlideReader, str]:
    """Opens a slide with the reader of that name, or with the first that can.

    Returns:
        The reader, and the reason for its choice as text.

    Raises:
        SlideError: If no reader can open it.
    """
    if name not in READERS:
        raise SlideError(f"reader {name!r} is unknown; expected one of {', '.join(READERS)}")
    if is_remote(location):
        return _remote(location, name)
    _check_file(Path(location))
    if name != "auto":
        return with_true_levels(_make(location, name)), "requested"
    try:
        base, reason = _make(location, "openslide"), "OpenSlide supports the format"
    except UnknownFormatError as refusal:
        base, reason = _second_choice(location, refusal)
    else:
        if base.vendor in (None, _GENERIC) and _is_tiff(location) and _planes_apart(location):
            base, reason = _make(location, "tiffslide"), "red, green and blue are separate images"
    return _native_or(with_true_levels(base), reason)


def _remote(location: str, name: str) -> tuple[SlideReader, str]:
    """The reader for a TIFF at a URL; see `make_reader`."""
    if name in ("openslide", "image"):
        raise SlideError(f"{location}: reader {name} opens local files only; at a URL use auto, native or tiffslide")
    files = PerProcess(functools.partial(open_source, location))
    if not files.get().head(4).startswith(TIFF_STARTS):
        raise SlideError(
            f"{location}: is not a TIFF; expected SVS, NDPI, SCN, BIF or TIFF at a URL; download the slide"
        )
    from wsi_lpd.slide.readers.native_reader import native_reader
    from wsi_lpd.slide.readers.tiffslide_reader import TiffSlideReader

    base = with_true_levels(TiffSlideReader(location, files))
    if name == "tiffslide":
        return base, "requested"
    native, why = native_reader(base, files)
    if native is not None:
        return native, "requested" if name == "native" else f"the slide is remote; {why}"
    if name == "native":
        raise SlideError(_NOT_NATIVE.format(location))
    return base, f"the slide is remote; {why}"


def _native_or(base: SlideReader, reason: str) -> tuple[SlideReader, str]:
    """The native reader on top of `base` for a TIFF with JPEG tiles; otherwise `base` itself."""
    if not _is_tiff(base.location):
        return base, reason
    from wsi_lpd.slide.readers.native_reader import native_reader

    native, why = native_reader(base)
    return (base, f"{reason}; {why}") if native is None else (native, why)


def _native(location: str) -> SlideReader:
    """The native reader; raises SlideError if the file has no JPEG tiles."""
    base, _ = make_reader(location, "auto")
    if base.name != "native":
        raise SlideError(_NOT_NATIVE.format(location))
    return base


def _second_choice(location: str, refusal: UnknownFormatError) -> tuple[SlideReader, str]:
    """The reader for a file whose format OpenSlide does not support.

    Not for damaged files of a supported format: to an image library, a MIRAX slide without its folder is a valid JPEG.
    """
    start = _start_of(location)
    is_image = Path(location).suffix.lower() in _IMAGE_SUFFIXES and start.startswith(_IMAGE_STARTS)
    if not is_image and not start.startswith(TIFF_STARTS):
        raise SlideError(f"{refusal}; expected a slide (SVS, NDPI, MRXS, SCN, BIF, DICOM, TIFF ...), PNG or JPEG")
    reason = str(refusal).removeprefix(f"{location}: ")
    is_tiff = start.startswith(TIFF_STARTS)
    if is_tiff:
        _planes_apart(location)  # refuses what is no bright-field picture
    name = "tiffslide" if is_tiff and not _is_plain(location) else "image"
    try:
        return _make(location, name), reason
    except SlideError as err:
        raise SlideError(f"{refusal}; {name} was tried next: {str(err).removeprefix(f'{location}: ')}") from err


def _make(location: str, name: str) -> SlideReader:
    # Imported here, since each reader needs a library that other slides do not.
    if name == "native":
        return _native(location)
    if name == "openslide":
        from wsi_lpd.slide.readers.openslide_reader import OpenSlideReader

        return OpenSlideReader(location)
    if name == "tiffslide":
        from wsi_lpd.slide.readers.tiffslide_reader import TiffSlideReader

        return TiffSlideReader(location)
    from wsi_lpd.slide.readers.image_reader import ImageReader

    return ImageReader(location)


def _is_tiff(location: str) -> bool:
    return _start_of(location).startswith(TIFF_STARTS)


def _planes_apart(location: str) -> bool:
    """See `check_layout`."""
    from wsi_lpd.slide.readers.tiff_layout import check_layout

    return check_layout(location, location=location)


def _is_plain(location: str) -> bool:
    from wsi_lpd.slide.readers.image_reader import is_plain_tiff

    return is_plain_tiff(location)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise SlideError(
            f"{path}: is a folder; expected a slide file (for a DICOM series one .dcm file, for MIRAX the .mrxs file)"
        )
    if not path.exists():
        raise SlideError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise SlideError(f"{path}: is empty")


def _start_of(location: str) -> bytes:
    with closing(open_source(location)) as file:
        return file.head(4)
