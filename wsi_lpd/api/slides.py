"""The slides of a call: files, folders, lists, slides that are open already; and their scales."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsi_lpd.api.mpp_table import SLIDE_COLUMNS, mpps_in
from wsi_lpd.csv_table import CsvError, find_column, read_table
from wsi_lpd.errors import SlideError

if TYPE_CHECKING:
    from wsi_lpd.slide import Slide

    Slides = str | os.PathLike[str] | Slide | Sequence[str | os.PathLike[str] | Slide]
    """A slide by path, URL or as `open_slide` gives it; a folder; a list (.txt, .csv); or several of these."""

SlideMpp = float | str | os.PathLike[str] | Mapping[str, float] | None
"""One number for all slides, a CSV file with the columns slide and mpp, or numbers by slide."""

SLIDE_SUFFIXES: Final = (
    ".svs", ".tif", ".tiff", ".btf", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".avs",
)  # fmt: skip
"""What is taken from a folder. DICOM is not: a series is many files and is named by one of them."""

_STATED: Final = "--slide-mpp"


def open_slide(path: str | os.PathLike[str], *, slide_mpp: float | None = None, reader: str = "auto") -> Slide:
    """Opens a whole-slide image, or a plain image, for reading; use it in a `with` block.

    Args:
        path: A file, or the URL of a TIFF slide (`https://`, `s3://`).
        slide_mpp: Micrometres per pixel of level 0, where the file states none or a wrong one.
        reader: `native`, `openslide`, `tiffslide` or `image`; `auto` takes the first that can read the file.

    Returns:
        The slide. Positions are level-0 pixels, (x, y), y down; pixels are RGB uint8 (H, W, 3).

    Raises:
        SlideError: If the file cannot be opened; the message says why, and what may help.
    """
    from wsi_lpd.slide import open_slide as opened

    return opened(os.fspath(path), mpp=slide_mpp, reader=reader)


def listed_slides(slides: Slides) -> list[str]:
    """Locations of all slides: folders and lists opened up, each slide once, in order.

    Raises:
        SlideError: If a folder or list holds none, or a list cannot be read.
    """
    found: list[str] = []
    for text in map(_location, _as_sequence(slides)):
        path = Path(text)
        if path.is_dir():
            found.extend(_in_folder(path))
        elif path.suffix.lower() in (".txt", ".csv"):
            found.extend(_in_list(path))
        else:
            found.append(text)
    return list(dict.fromkeys(found))


def slide_mpps(slide_mpp: SlideMpp, slides: Sequence[str], given: Slides = ()) -> dict[str, float]:
    """The stated scale of each slide that has one.

    A slide is found in a table by its path, its file name, or its name without extension. One that is not in it keeps
    the scale its file states, or the one it was opened with.

    Args:
        slide_mpp: The scales.
        slides: Locations of the slides.
        given: The slides as the caller gave them.

    Raises:
        SlideError: If `slide_mpp` is neither a number nor such a table, or a number in it is none.
    """
    opened = {s.location: s.mpp for s in _as_sequence(given) if not isinstance(s, str | os.PathLike) and _is_stated(s)}
    if slide_mpp is None:
        return opened
    if isinstance(slide_mpp, Mapping):
        return opened | _found_in(slide_mpp, slides)
    try:
        return dict.fromkeys(slides, float(slide_mpp))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        path = Path(slide_mpp)  # type: ignore[arg-type]
    if not path.is_file():
        raise SlideError(
            f"--slide-mpp {path}: expected a number such as 0.25, or a CSV file with the columns slide,mpp"
        )
    return opened | mpps_in(path, slides)


def _as_sequence(slides: Slides) -> Sequence[str | os.PathLike[str] | Slide]:
    return slides if isinstance(slides, Sequence) and not isinstance(slides, str) else [slides]


def _location(slide: str | os.PathLike[str] | Slide) -> str:
    return os.fspath(slide) if isinstance(slide, str | os.PathLike) else slide.location


def _is_stated(slide: Slide) -> bool:
    """Whether whoever opened the slide stated its scale."""
    return slide.resolution is not None and slide.resolution.source == _STATED


def _found_in(stated: Mapping[str, float], slides: Sequence[str]) -> dict[str, float]:
    found = {}
    for slide in slides:
        names = [name for name in (slide, Path(slide).name, Path(slide).stem) if name in stated]
        if names:
            found[slide] = stated[names[0]]
    return found


def _in_folder(folder: Path) -> list[str]:
    found = sorted(
        str(p)
        for p in folder.iterdir()
        if p.suffix.lower() in SLIDE_SUFFIXES and not p.name.startswith(".") and not p.name.endswith(".truth.tif")
    )
    if not found:
        raise SlideError(
            f"{folder}: holds no slides ({', '.join(SLIDE_SUFFIXES)}); name a DICOM series by one of its .dcm files"
        )
    return found


def _in_list(path: Path) -> list[str]:
    if path.suffix.lower() == ".csv":
        try:
            table = read_table(_text(path))
        except CsvError as err:
            raise SlideError(f"{path}:{err}") from err
        column = find_column(table.header, SLIDE_COLUMNS)
        if column is None:
            raise SlideError(f"{path}: expected a CSV file with the column slide, found {', '.join(table.header)}")
        names = [cells[column] for _, cells in table.rows]
    else:
        names = [line.strip() for line in _text(path).splitlines()]
    named = [name for name in names if name and not name.startswith("#")]
    if not named:
        raise SlideError(f"{path}: lists no slides")
    # Names in a list are relative to the list, or to the working folder.
    return [str(path.parent / name) if (path.parent / name).exists() else name for name in named]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise SlideError(f"{path}: cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise SlideError(f"{path}: is not UTF-8 text") from err
