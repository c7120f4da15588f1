"""Scales of slides from a table: which row is which slide's, and what fits none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Final, NamedTuple

from wsi_lpd.csv_table import CsvError, file_name_in, find_column, number_in, read_table
from wsi_lpd.errors import SlideError

logger = logging.getLogger(__name__)

SLIDE_COLUMNS: Final = ("slide", "wsi", "path", "file", "filename", "image", "name")
MPP_COLUMNS: Final = ("mpp", "mpp_x", "um_per_px", "microns_per_pixel")


class _Row(NamedTuple):
    line: int
    name: str
    mpp: float


def mpps_in(path: Path, slides: Sequence[str]) -> dict[str, float]:
    """The scale of each slide that the table names, in um per pixel.

    A row names a slide by its path, of this system or another, its file name, or that without extension, in any case; a
    number that a spreadsheet has robbed of its zeros (`12` for `0012`) is still the slide's, unless two could be meant.

    Args:
        path: A CSV file with the columns slide and mpp.
        slides: Locations of the slides of the call.

    Raises:
        SlideError: If it is no such table, or says two things of one slide. Rows and slides that fit nothing are warned
            of, in one line each.
    """
    rows = _rows(path)
    found: dict[str, _Row] = {}
    used: set[int] = set()
    for slide in slides:
        for fits in (_is_path, _is_name, _is_number):
            matching = [row for row in rows if fits(row.name, slide, slides)]
            if matching:
                break
        used |= {row.line for row in matching}
        distinct = {row.mpp for row in matching}
        if len(distinct) > 1:
            lines = " and ".join(str(row.line) for row in matching)
            raise SlideError(
                f"{path}: lines {lines} state different scales for {Path(slide).name}; remove the wrong one"
            )
        if matching:
            found[slide] = matching[0]
    _warn(path, rows, used, [slide for slide in slides if slide not in found])
    return {slide: row.mpp for slide, row in found.items()}


def _rows(path: Path) -> list[_Row]:
    try:
        table = read_table(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise SlideError(f"--slide-mpp {path}: cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise SlideError(f"--slide-mpp {path}: is not UTF-8 text; save it as UTF-8 CSV") from err
    except CsvError as err:
        raise SlideError(f"{path}:{err}") from err
    name, mpp = find_column(table.header, SLIDE_COLUMNS), find_column(table.header, MPP_COLUMNS)
    if name is None or mpp is None:
        raise SlideError(
            f"--slide-mpp {path}: expected a number such as 0.25, or a CSV file with the columns slide,mpp; found "
            f"{', '.join(table.header) or 'nothing'}"
        )
    rows = []
    for line, cells in table.rows:
        if not cells[name]:
            raise SlideError(
                f"{path}:{line}: names no slide; fill in the column {table.header[name]}, or remove the row"
            )
        if not cells[mpp]:
            continue  # nothing is stated
        number = number_in(cells[mpp])
        if number is None or not 0 < number < float("inf"):
            raise SlideError(f"{path}:{line}: mpp is {cells[mpp]!r}, expected a number such as 0.25")
        rows.append(_Row(line, cells[name], number))
    return rows


def _is_path(stated: str, slide: str, slides: Sequence[str]) -> bool:
    return stated == slide


def _is_name(stated: str, slide: str, slides: Sequence[str]) -> bool:
    name = file_name_in(stated).casefold()
    return name in (PurePath(slide).name.casefold(), PurePath(slide).stem.casefold()) or (
        PurePath(name).suffix in _EXTENSIONS and PurePath(name).stem == PurePath(slide).stem.casefold()
    )


def _is_number(stated: str, slide: str, slides: Sequence[str]) -> bool:
    """Whether the slide is the only one whose name is that number."""
    number = number_in(file_name_in(stated))
    same = [other for other in slides if number is not None and _name_as_number(other) == number]
    return same == [slide]


def _name_as_number(slide: str) -> float | None:
    stem = PurePath(slide).stem
    return float(stem) if stem.isascii() and stem.isdigit() else None


_EXTENSIONS: Final = (
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".bif",
    ".dcm",
    ".czi",
    ".png",
    ".jpg",
    ".jpeg",
)


def _warn(path: Path, rows: Sequence[_Row], used: set[int], without: Sequence[str]) -> None:
    unused = [row for row in rows if row.line not in used]
    if unused:
        logger.warning(
            "%s: %d of %d rows fit none of these slides, such as line %d (%s)",
            path, len(unused), len(rows), unused[0].line, unused[0].name,
        )  # fmt: skip
    if without:
        logger.warning(
            "%s: states no scale for %d of the slides, such as %s; what they state themselves is used",
            path, len(without), Path(without[0]).name,
        )  # fmt: skip
