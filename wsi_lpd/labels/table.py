"""The table of labelled patches that all label sources are read into."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_lpd.classes import qupath_classes
from wsi_lpd.errors import LabelError

Int8Array = NDArray[np.int8]

UNKNOWN: Final = -1
"""Label of a class that has not been annotated on a patch."""

_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class PatchSource:
    """Source of a patch's pixels: a patch store and an index, or an image file (index None)."""

    path: Path
    index: int | None = None


@dataclass(frozen=True)
class MaskSource:
    """The pixel mask of a patch.

    Attributes:
        path: A palette or grey image whose pixel value i means `order[i]`.
        order: Class index (from 0) of each mask value; pixels of any other value are not annotated.
    """

    path: Path
    order: tuple[int, ...]


@dataclass(frozen=True)
class LabelTable:
    """Labelled patches.

    Attributes:
        classes: Names of the classes, in the order of the columns.
        labels: 1 present, 0 absent, -1 not labelled, int8 (N, C); every row has at least one label, unless it has
            a mask.
        sources: Source of each patch's pixels, N of them.
        groups: Slide, patient or image that each patch comes from; a split keeps groups together.
        mpp: Micrometres per pixel of the patches, where known.
        patch_px: Side of the patches.
        truth_masks: Pixel masks, where a source has them (data sets' `val` and `test`); None where none has.
    """

    classes: tuple[str, ...]
    labels: Int8Array
    sources: tuple[PatchSource, ...]
    groups: tuple[str, ...]
    mpp: float | None = None
    patch_px: int | None = None
    truth_masks: tuple[MaskSource | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def fingerprint(self) -> str:
        """`sha256:` of classes, labels and the places the patches come from."""
        places = "\n".join(f"{source.path.name}:{source.index}" for source in self.sources)
        content = json.dumps(self.classes).encode() + self.labels.tobytes() + places.encode()
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def subset(self, indices: Sequence[int] | NDArray[np.integer]) -> LabelTable:
        """The rows at `indices`, in that order."""
        rows = [int(i) for i in indices]
        return replace(
            self,
            labels=self.labels[rows],
            sources=tuple(self.sources[i] for i in rows),
            groups=tuple(self.groups[i] for i in rows),
            truth_masks=None if self.truth_masks is None else tuple(self.truth_masks[i] for i in rows),
        )


class Problems:
    """Collects problems so that one error reports them all (up to twenty in detail)."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, where: str, message: str) -> None:
        """Records a problem of a file, line or image."""
        self._lines.append(f"{where}: {message}")

    def raise_any(self) -> None:
        """Raises LabelError if there is any problem."""
        if len(self._lines) == 1:
            raise LabelError(self._lines[0])
        if self._lines:
            shown = [f"  {line}" for line in self._lines[:_MAX_PROBLEMS]]
            hidden = len(self._lines) - len(shown)
            more = [f"  ... and {hidden} more"] if hidden else []
            raise LabelError("\n".join([f"{len(self._lines)} problems in the labels:", *shown, *more]))


def same_class(a: str, b: str) -> bool:
    """Whether two names mean the same class: equal up to case, or synonyms (`TUM`, `Tumor`)."""
    return _canonical(a) == _canonical(b)


def find_class(name: str, among: Sequence[str]) -> int | None:
    """Index in `among` of the class that `name` means: an exact match first, else a synonym; None if there is none."""
    if name in among:
        return list(among).index(name)
    return next((i for i, other in enumerate(among) if same_class(name, other)), None)


def join(tables: Sequence[LabelTable], *, names: Sequence[str]) -> LabelTable:
    """Concatenates tables; the classes of later tables are reordered to match the first.

    Args:
        tables: At least one.
        names: Name of each table in error messages.

    Raises:
        LabelError: If classes, mpp or patch sizes differ, or a patch is listed twice.
    """
    first = tables[0]
    ordered = [first, *(_reordered(t, first, n, names[0]) for t, n in zip(tables[1:], names[1:], strict=True))]
    for what in ("mpp", "patch_px"):
        values = {getattr(table, what): name for table, name in zip(ordered, names, strict=True)}
        values.pop(None, None)
        if len(values) > 1:
            details = ", ".join(f"{value:g} ({name})" for value, name in values.items())
            raise LabelError(
                f"the label sources differ in {what}: {details}; expected one value; pass sources that agree"
            )
    masks = [m for t in ordered for m in (t.truth_masks if t.truth_masks is not None else (None,) * len(t))]
    table = LabelTable(
        classes=first.classes,
        labels=np.concatenate([t.labels for t in ordered]),
        sources=tuple(s for t in ordered for s in t.sources),
        groups=tuple(g for t in ordered for g in t.groups),
        mpp=next((t.mpp for t in ordered if t.mpp is not None), None),
        patch_px=next((t.patch_px for t in ordered if t.patch_px is not None), None),
        truth_masks=tuple(masks) if any(m is not None for m in masks) else None,
    )
    _refuse_duplicates(table.sources)
    return table


def class_balance(table: LabelTable) -> list[str]:
    """The class balance as lines of text: numbers of patches with, without and not labelled for each class."""
    width = max(len(name) for name in (*table.classes, "class"))
    lines = [f"{len(table)} labelled patches of {len(set(table.groups))} slides or images"]
    lines.append(f"{'class':<{width}}  {'present':>14}  {'absent':>8}  {'unknown':>8}  {'alone':>8}")
    n_present = (table.labels == 1).sum(axis=1)
    for i, name in enumerate(table.classes):
        column = table.labels[:, i]
        present = int((column == 1).sum())
        alone = int(((column == 1) & (n_present == 1)).sum())
        share = f"{present} ({present / len(table):.0%})"
        absent, unknown = int((column == 0).sum()), int((column == UNKNOWN).sum())
        lines.append(f"{name:<{width}}  {share:>14}  {absent:>8}  {unknown:>8}  {alone:>8}")
    return lines


def _reordered(table: LabelTable, first: LabelTable, name: str, first_name: str) -> LabelTable:
    places = [find_class(wanted, table.classes) for wanted in first.classes]
    if None in places or len(table.classes) != len(first.classes):
        raise LabelError(
            f"{name}: has the classes {', '.join(table.classes)}, but {first_name} has {', '.join(first.classes)}; "
            "expected the same classes in all label sources; pass --classes"
        )
    old_places = [place for place in places if place is not None]
    new_place = {old: new for new, old in enumerate(old_places)}
    masks = table.truth_masks and tuple(
        m and MaskSource(m.path, tuple(new_place[old] for old in m.order)) for m in table.truth_masks
    )
    return replace(table, classes=first.classes, labels=table.labels[:, old_places], truth_masks=masks)


def _refuse_duplicates(sources: Iterable[PatchSource]) -> None:
    seen: set[PatchSource] = set()
    problems = Problems()
    for source in sources:
        if source in seen:
            place = str(source.path) if source.index is None else f"{source.path} patch {source.index}"
            problems.add(place, "is labelled twice; remove one of the two rows or label sources")
        seen.add(source)
    problems.raise_any()


def _canonical(name: str) -> str:
    return qupath_classes([name])[0].name.casefold()
