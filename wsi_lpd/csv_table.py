"""CSV as people have it: written by us, by pandas, or saved by a spreadsheet in any country."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import PureWindowsPath
from typing import Final, NamedTuple

_DELIMITERS: Final = ",;\t"


class CsvTable(NamedTuple):
    """A table as text.

    Attributes:
        header: Names of the columns, without spaces around them.
        rows: (line number, cells) of every row that is not blank, with the cells that spreadsheets leave out.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]


class CsvError(ValueError):
    """A text is no such table; says the line."""


def read_table(text: str) -> CsvTable:
    """The table in a text, with or without a byte order mark or a `sep=` line, split by commas, semicolons or tabs.

    A row may lack empty cells at its end, as Excel drops them, or have empty cells too many.

    Raises:
        CsvError: If it is no CSV, or a row has more cells than the header; all such rows at once.
    """
    text = text.removeprefix("\ufeff")
    skipped = 0
    first = text.partition("\n")[0].strip()
    if first.lower().startswith("sep=") and len(first) == len("sep=,"):
        delimiter, text, skipped = first[-1], text.partition("\n")[2], 1
    else:
        delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    problems, rows = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        while header and not header[-1]:
            header.pop()
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            while len(stripped) > len(header) and not stripped[-1]:
                stripped.pop()
            if len(stripped) > len(header):
                problems.append(
                    f"{reader.line_num + skipped}: has {len(stripped)} cells; expected {len(header)} as in the header"
                )
            elif any(stripped):
                rows.append((reader.line_num + skipped, stripped + [""] * (len(header) - len(stripped))))
    except csv.Error as err:
        raise CsvError(f"{reader.line_num + skipped}: is not valid CSV ({err})") from err
    if problems:
        raise CsvError("\n".join(problems))
    return CsvTable(header, rows)


def column_key(name: str) -> str:
    """A column's name as it is compared: `Patient ID`, `patient_id` and `patientId` are one."""
    return "".join(character for character in name.casefold() if character.isalnum())


def find_column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Index of the first column that has one of the names, in the order of the names; None where there is none."""
    keys = [column_key(name) for name in header]
    return next((keys.index(column_key(name)) for name in names if column_key(name) in keys), None)


def number_in(text: str) -> float | None:
    """The number in a cell, with a point or a comma; None where there is none."""
    try:
        return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None


def file_name_in(text: str) -> str:
    """The last part of a path in a cell, of this system or of Windows."""
    return PureWindowsPath(text).name if "\\" in text else text.rstrip("/").rpartition("/")[2]
