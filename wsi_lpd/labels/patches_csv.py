"""Writes `patches.csv`, the label file over stores, and never loses a manual label.

An existing file is merged: rows are identified by (store, x, y), and only their fixed columns are updated. Rows of
other stores are kept. A labelled row whose patch no longer exists is an error.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_lpd.errors import LabelError
from wsi_lpd.files import write_text
from wsi_lpd.labels.class_names import STORE_COLUMNS
from wsi_lpd.labels.csv_files import LABEL_OF_TEXT, Sheet, read_sheet
from wsi_lpd.labels.table import UNKNOWN, Int8Array, Problems, find_class
from wsi_lpd.types import Float32Array, Int64Array

Key = tuple[str, int, int]
"""(store as written, x, y)."""


@dataclass(frozen=True)
class StoreRows:
    """The rows of one store.

    Attributes:
        store: Path of the store relative to the CSV, with slashes.
        slide: Name of the slide.
        coords: Top-left corners of the patches, level-0 px, (N, 2).
        tissue: Their tissue fractions, (N,).
        labels: 1, 0 or -1 per class of the call, (N, C), or None without annotations.
    """

    store: str
    slide: str
    coords: Int64Array
    tissue: Float32Array
    labels: Int8Array | None = None


@dataclass(frozen=True)
class CsvReport:
    """The result of `write_patches_csv`.

    Attributes:
        n_rows: Rows of the file.
        n_kept: Number of cells whose earlier label was kept.
        n_disagree: Number of these whose label differs from the annotations.
        changed: Whether the file was written.
        classes: Its class columns.
    """

    n_rows: int
    n_kept: int
    n_disagree: int
    changed: bool
    classes: tuple[str, ...]


def write_patches_csv(path: Path, stores: Sequence[StoreRows], classes: Sequence[str]) -> CsvReport:
    """Writes or updates the label file at `path`.

    Args:
        path: Such as `out/patches.csv`.
        stores: The stores of this call, with labels in the order of `classes`.
        classes: Class columns to write; existing columns stay, also under a synonym of the class.

    Raises:
        LabelError: If the existing file is not over stores, lists a patch twice, or labels a patch that is gone.
    """
    old = _read_existing(path)
    extra = [name for name in old.sheet.header if name not in STORE_COLUMNS]
    places = [find_class(name, extra) for name in classes]
    added = [name for name, place in zip(classes, places, strict=True) if place is None]
    columns = [*extra, *added]
    targets = [columns.index(name) if place is None else place for name, place in zip(classes, places, strict=True)]
    new = {rows.store: rows for rows in stores}
    check_labels_kept(path, [(rows.store, rows.coords) for rows in stores])
    merger = _Merger(old, len(columns), targets)
    lines = []
    untouched = old.by_store()
    for store in dict.fromkeys([*untouched, *new]):
        lines.extend(merger.merged(new[store]) if store in new else merger.verbatim(untouched[store]))
    text = _csv_text([*STORE_COLUMNS, *columns], lines)
    changed = not path.exists() or path.read_bytes() != text.encode()
    if changed:
        write_text(path, text)
    return CsvReport(len(lines), merger.n_kept, merger.n_disagree, changed, tuple(columns))


def check_labels_kept(path: Path, stores: Sequence[tuple[str, Int64Array]], *, fields_change: bool = False) -> None:
    """Raises an error if a manual label would lose its patch.

    Args:
        path: The label file; may be missing.
        stores: (store as written, coords) of the stores as they will be.
        fields_change: Whether patches at the same position will show another field (other mpp or patch size).

    Raises:
        LabelError: Names the labelled rows.
    """
    old = _read_existing(path)
    problems = Problems()
    for store, coords in stores:
        alive = set() if fields_change else {(store, int(x), int(y)) for x, y in coords}
        for key, (line, _, extra) in old.rows.items():
            if key[0] == store and key not in alive and any(extra):
                problems.add(
                    old.sheet.where(line),
                    f"is labelled, but {store} will have no such patch at x = {key[1]}, y = {key[2]}; "
                    f"tile into another --out, or move {path.name} away to discard its labels",
                )
    problems.raise_any()


@dataclass(frozen=True)
class _ExistingFile:
    """An existing file: for each key its line, the fixed cells by name and the other cells."""

    sheet: Sheet
    rows: dict[Key, tuple[int, dict[str, str], list[str]]]

    def by_store(self) -> dict[str, list[tuple[dict[str, str], list[str]]]]:
        """(fixed cells, other cells) of the rows of each store, in the order of the file."""
        stores: dict[str, list[tuple[dict[str, str], list[str]]]] = {}
        for key, (_, fixed, extra) in self.rows.items():
            stores.setdefault(key[0], []).append((fixed, extra))
        return stores


def _read_existing(path: Path) -> _ExistingFile:
    if not path.exists():
        return _ExistingFile(Sheet(path, list(STORE_COLUMNS)), {})
    sheet = read_sheet(path)
    missing = [name for name in ("store", "x", "y") if name not in sheet.header]
    if missing:
        raise LabelError(
            f"{path}: has no column {', '.join(missing)}; expected a label file written by tile; "
            "move it away or tile into another --out"
        )
    extra = [i for i, name in enumerate(sheet.header) if name not in STORE_COLUMNS]
    rows: dict[Key, tuple[int, dict[str, str], list[str]]] = {}
    problems = Problems()
    for line, cells in sheet.rows:
        fixed: dict[str, str] = {n: cells[sheet.header.index(n)] for n in STORE_COLUMNS if n in sheet.header}
        try:
            key = (fixed["store"], _integer(fixed["x"]), _integer(fixed["y"]))
        except ValueError:
            problems.add(sheet.where(line), f"x, y are {fixed['x']!r}, {fixed['y']!r}; expected integers")
            continue
        if key in rows:
            problems.add(sheet.where(line), f"repeats the patch of line {rows[key][0]}; remove one of the lines")
        rows[key] = (line, fixed, [cells[i] for i in extra])
    problems.raise_any()
    return _ExistingFile(sheet, rows)


def _integer(text: str) -> int:
    """An integer, also as 12.0, which spreadsheets and pandas write; raises ValueError for anything else."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text} is not an integer")
    return int(number)


class _Merger:
    def __init__(self, old: _ExistingFile, n_columns: int, targets: list[int]) -> None:
        self._old = old
        self._n_columns = n_columns
        self._targets = targets
        self.n_kept = 0
        self.n_disagree = 0

    def verbatim(self, rows: list[tuple[dict[str, str], list[str]]]) -> list[list[str]]:
        """The rows of a store that is not part of this call, unchanged."""
        return [[*(fixed.get(name, "") for name in STORE_COLUMNS), *self._wide(extra)] for fixed, extra in rows]

    def merged(self, rows: StoreRows) -> list[list[str]]:
        """The rows of a store of this call, with the existing cells kept."""
        lines = []
        for i, (x, y) in enumerate(rows.coords.tolist()):
            old = self._old.rows.get((rows.store, x, y))
            cells = self._wide([] if old is None else old[2])
            self._label(cells, None if rows.labels is None else rows.labels[i])
            lines.append([rows.store, str(i), rows.slide, str(x), str(y), f"{rows.tissue[i]:.4f}", *cells])
        return lines

    def _label(self, cells: list[str], labels: Int8Array | None) -> None:
        for k, place in enumerate(self._targets):
            value = UNKNOWN if labels is None else int(labels[k])
            if cells[place]:
                self.n_kept += 1
                self.n_disagree += value != UNKNOWN and LABEL_OF_TEXT.get(cells[place].lower()) != value
            elif value != UNKNOWN:
                cells[place] = str(value)

    def _wide(self, cells: list[str]) -> list[str]:
        return [*cells, *[""] * (self._n_columns - len(cells))]


def _csv_text(header: list[str], lines: list[list[str]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return stream.getvalue()
