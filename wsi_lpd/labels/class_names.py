"""Which names a class may have: those that a label table can hold and that QuPath takes in the overlay at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wsi_lpd.errors import LabelError
from wsi_lpd.qupath.classes import kind_of, name_problem

STORE_COLUMNS: Final = ("store", "index", "slide", "x", "y", "tissue")
GROUP_COLUMNS: Final = (
    "group", "patient", "patient_id", "case", "case_id", "subject", "subject_id", "donor", "donor_id",
    "slide", "slide_id", "wsi",
)  # fmt: skip
"""What a split must not tear apart, the widest first; compared without case, spaces and underscores."""

OTHER_COLUMNS: Final = ("image", "mask", "note", "notes", "comment", "comments")
RESERVED: Final = frozenset({*STORE_COLUMNS, *GROUP_COLUMNS, *OTHER_COLUMNS})
"""Columns of a label table that are no classes, in any case."""


def check_class_names(names: Iterable[str], *, where: str) -> None:
    """Refuses, before any work is done, names that would fail at its end.

    Args:
        names: Of classes.
        where: File or option, for the error.

    Raises:
        LabelError: If a name is blank, a column of `patches.csv`, one that QuPath splits or ignores, or not unique.
    """
    seen: set[str] = set()
    for name in names:
        problem = name_problem(name)
        if problem is None and name.strip().casefold() in RESERVED:
            problem = f"name {name!r} is a column of patches.csv; choose another"
        if problem is None and kind_of(name) != "class":
            problem = f"name {name!r} ends in *, which marks areas that QuPath does not count; choose another"
        if problem is None and name.strip().casefold() in seen:
            problem = f"name {name!r} is there twice"
        if problem is not None:
            raise LabelError(f"{where}: class {problem}")
        seen.add(name.strip().casefold())
