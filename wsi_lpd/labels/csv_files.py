"""Reads label files, CSV over stores or over images; `patches_csv.py` writes them.

Columns over stores: `store,index,slide,x,y,tissue,<one per class>`, with `store` relative to the file. Columns over
images: `image,<one per class>`, and optionally `mask`, `slide`, `group` or `patient`. A class cell is 1, 0 or empty
(not labelled); 1.0, 0.0, true and false are accepted too, since spreadsheets and pandas write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from wsi_lpd.csv_table import CsvError, column_key, find_column, number_in, read_table
from wsi_lpd.errors import LabelError, StoreError
from wsi_lpd.images.files import common_side, image_size
from wsi_lpd.labels.class_names import GROUP_COLUMNS, RESERVED
from wsi_lpd.labels.table import UNKNOWN, LabelTable, MaskSource, PatchSource, Problems, find_class
from wsi_lpd.stores.patches import PatchStore

_NO_CLASS: Final = {*map(column_key, RESERVED), ""}

LABEL_OF_TEXT: Final = {"": UNKNOWN, "1": 1, "0": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0, "1,0": 1, "0,0": 0}


@dataclass
class Sheet:
    """A CSV file as text.

    Attributes:
        path: The file.
        header: Names of the columns.
        rows: (line number, cells) of every row that is not blank.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]] = field(default_factory=list)

    def column(self, name: str) -> int | None:
        """Index of a column, in any case, or None."""
        return find_column(self.header, [name])

    def where(self, line: int) -> str:
        """A line in the form that error messages use."""
        return f"{self.path}:{line}"


def read_sheet(path: Path) -> Sheet:
    """Reads a CSV file: UTF-8 with or without a byte order mark, separated by commas, semicolons or tabs.

    Raises:
        LabelError: If the file is not such a table; names every bad line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise LabelError(f"{path}: cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise LabelError(f"{path}: is not UTF-8 text; save it as UTF-8 CSV") from err
    problems = Problems()
    try:
        sheet = Sheet(path, *read_table(text))
    except CsvError as err:
        for problem in str(err).splitlines():
            line, _, message = problem.partition(": ")
            problems.add(f"{path}:{line}", message)
        problems.raise_any()
    duplicates = {name for name in sheet.header if name and sheet.header.count(name) > 1}
    for name in sorted(duplicates):
        problems.add(sheet.where(1), f"has the column {name!r} more than once; rename or remove one")
    problems.raise_any()
    return sheet


def read_label_csv(path: Path, *, classes: Sequence[str] | None = None) -> LabelTable:
    """Reads a label file of either kind; rows without any label are skipped.

    Args:
        path: The file.
        classes: The class columns, in order; by default all columns without another meaning.

    Raises:
        LabelError: All problems at once, each with its line.
    """
    sheet = _patch_sheet(path)
    columns = _class_columns(sheet, classes)
    names = tuple(classes) if classes is not None else tuple(sheet.header[i] for i in columns)
    problems = Problems()
    labels = _labels(sheet, columns, problems)
    kept = [i for i, row in enumerate(labels) if any(value != UNKNOWN for value in row)]
    if not kept:
        problems.raise_any()
        raise LabelError(
            f"{path}: none of its {len(sheet.rows)} patches has a label, expected at least one; "
            f"write 1 or 0 into the columns {', '.join(names)}"
        )
    rows = [sheet.rows[i] for i in kept]
    values = np.array([labels[i] for i in kept], dtype=np.int8)
    return _table(sheet, rows, names, values, problems)


def read_unlabelled_csv(path: Path) -> LabelTable:
    """Reads all patches of a label file, labelled or not, into a table without classes.

    Raises:
        LabelError: All problems at once, each with its line.
    """
    sheet = _patch_sheet(path)
    return _table(sheet, sheet.rows, (), np.zeros((len(sheet.rows), 0), np.int8), Problems())


def _patch_sheet(path: Path) -> Sheet:
    sheet = read_sheet(path)
    if not _is_over_stores(sheet) and sheet.column("image") is None:
        raise LabelError(
            f"{path}: has the columns {', '.join(sheet.header) or '(none)'}; expected store and index "
            "(patches of a store) or image (image files), and one column per class"
        )
    if not sheet.rows:
        raise LabelError(f"{path}: has no rows below its header; add one per patch")
    return sheet


def _is_over_stores(sheet: Sheet) -> bool:
    return sheet.column("store") is not None and sheet.column("index") is not None


def _class_columns(sheet: Sheet, classes: Sequence[str] | None) -> list[int]:
    candidates = [name for name in sheet.header if column_key(name) not in _NO_CLASS]
    if classes is None:
        if not candidates:
            raise LabelError(
                f"{sheet.path}: has no class columns; add one per class (`tile --classes A,B,C` does so) "
                "and write 1 or 0 into them"
            )
        return [sheet.header.index(name) for name in candidates]
    found = [find_class(name, candidates) for name in classes]
    missing = [name for name, place in zip(classes, found, strict=True) if place is None]
    if missing:
        raise LabelError(
            f"{sheet.path}: has no class column {', '.join(missing)}; "
            f"its class columns are {', '.join(candidates) or '(none)'}"
        )
    return [sheet.header.index(candidates[place]) for place in found if place is not None]


def _labels(sheet: Sheet, columns: list[int], problems: Problems) -> list[list[int]]:
    labels = []
    for line, cells in sheet.rows:
        row = [LABEL_OF_TEXT.get(cells[i].lower(), None) for i in columns]
        for value, i in zip(row, columns, strict=True):
            if value is None:
                problems.add(
                    sheet.where(line),
                    f"column {sheet.header[i]!r} has {cells[i]!r}; expected 1, 0 or an empty cell (if the column is "
                    "not a class, name the classes with --classes)",
                )
        labels.append([UNKNOWN if value is None else value for value in row])
    return labels


def _table(
    sheet: Sheet, rows: list[tuple[int, list[str]]], names: tuple[str, ...], labels: np.ndarray, problems: Problems
) -> LabelTable:
    read = _over_stores if _is_over_stores(sheet) else _over_images
    return read(sheet, rows, names, labels, problems)


def _over_stores(
    sheet: Sheet, rows: list[tuple[int, list[str]]], names: tuple[str, ...], labels: np.ndarray, problems: Problems
) -> LabelTable:
    store_column, index_column = _place(sheet, "store"), _place(sheet, "index")
    stores = _open_stores(sheet, {cells[store_column]: line for line, cells in reversed(rows)}, problems)
    sources, groups = [], []
    for line, cells in rows:
        store = stores.get(cells[store_column])
        if store is None:
            continue
        index = _checked_index(sheet, line, cells, store, cells[index_column], problems)
        sources.append(PatchSource(store.path, index))
        groups.append(_group(sheet, cells) or store.meta.slide.name)
    problems.raise_any()
    kinds = {(store.meta.mpp, store.meta.patch_px): store.path for store in stores.values()}
    if len(kinds) > 1:
        details = ", ".join(f"{px} px at {mpp:g} um/px ({path.name})" for (mpp, px), path in kinds.items())
        raise LabelError(
            f"{sheet.path}: its stores differ: {details}; expected one mpp and one patch size; split the file"
        )
    mpp, patch_px = next(iter(kinds))
    return LabelTable(names, labels, tuple(sources), tuple(groups), mpp, patch_px)


def _open_stores(sheet: Sheet, first_lines: dict[str, int], problems: Problems) -> dict[str, PatchStore]:
    stores = {}
    for name in reversed(first_lines):
        try:
            stores[name] = PatchStore.open(Path(name) if "://" in name else sheet.path.parent / name)
        except StoreError as err:
            problems.add(sheet.where(first_lines[name]), str(err))
    return stores


def _checked_index(sheet: Sheet, line: int, cells: list[str], store: PatchStore, text: str, problems: Problems) -> int:
    """Index of the row's patch, after checking that the store still contains that patch."""
    index = _whole_number(text)
    if index is None or not 0 <= index < len(store):
        problems.add(sheet.where(line), f"index is {text!r}; expected 0 to {len(store) - 1}, as in {store.path.name}")
        return 0
    for axis, name in enumerate(("x", "y")):
        place = sheet.column(name)
        stated = "" if place is None else cells[place]
        held = int(store.coords[index, axis])
        if stated and number_in(stated) != held:
            problems.add(
                sheet.where(line),
                f"patch {index} of {store.path.name} lies at {name} = {held}, but the file has {stated}: the store was "
                "made again since; run tile again to update the file",
            )
    return index


def _over_images(
    sheet: Sheet, rows: list[tuple[int, list[str]]], names: tuple[str, ...], labels: np.ndarray, problems: Problems
) -> LabelTable:
    image_column, mask_column = _place(sheet, "image"), sheet.column("mask")
    sources, groups, sizes = [], [], []
    masks: list[MaskSource | None] = []
    for line, cells in rows:
        path = sheet.path.parent / cells[image_column]
        try:
            sizes.append(image_size(path))
        except LabelError as err:
            problems.add(sheet.where(line), str(err))
        sources.append(PatchSource(path))
        groups.append(_group(sheet, cells) or path.stem)
        mask = cells[mask_column] if mask_column is not None else ""
        if mask and not (sheet.path.parent / mask).is_file():
            problems.add(sheet.where(line), f"mask {mask} does not exist; expected a path relative to the file")
        masks.append(MaskSource(sheet.path.parent / mask, tuple(range(len(names)))) if mask else None)
    problems.raise_any()
    return LabelTable(
        names,
        labels,
        tuple(sources),
        tuple(groups),
        patch_px=common_side(sizes, str(sheet.path)),
        truth_masks=tuple(masks) if any(m is not None for m in masks) else None,
    )


def _group(sheet: Sheet, cells: list[str]) -> str:
    """The widest thing that the row says it comes from: a patient rather than a slide."""
    for name in GROUP_COLUMNS:
        place = sheet.column(name)
        if place is not None and cells[place]:
            return cells[place]
    return ""


def _place(sheet: Sheet, name: str) -> int:
    place = sheet.column(name)
    assert place is not None
    return place


def _whole_number(text: str) -> int | None:
    """A whole number, which pandas may have written as `14.0`."""
    number = number_in(text)
    return int(number) if number is not None and number.is_integer() else None
