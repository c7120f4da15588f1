"""Tissue classes: names and colours as QuPath shows them, and the short names used in data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple


class TissueClass(NamedTuple):
    """One class of a model: the name QuPath shows and its colour (R, G, B), 0 to 255."""

    name: str
    color: tuple[int, int, int]


QUPATH_CLASSES: Final = (
    TissueClass("Tumor", (200, 0, 0)),
    TissueClass("Stroma", (150, 200, 150)),
    TissueClass("Immune cells", (160, 90, 160)),
    TissueClass("Necrosis", (50, 50, 50)),
    TissueClass("Other", (255, 200, 0)),
)
"""QuPath's built-in classes (`PathClass.StandardPathClasses`); QuPath ignores other colours that a file gives them."""

_ALIASES: Final = {
    "tumor": "Tumor",
    "tumour": "Tumor",
    "tum": "Tumor",
    "te": "Tumor",
    "stroma": "Stroma",
    "str": "Stroma",
    "tas": "Stroma",
    "immune cells": "Immune cells",
    "lymphocytes": "Immune cells",
    "lymphocyte": "Immune cells",
    "lym": "Immune cells",
    "necrosis": "Necrosis",
    "nec": "Necrosis",
    "other": "Other",
}

_FREE_COLORS: Final = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (120, 94, 240),
)
"""The Okabe-Ito palette, which colour-blind readers can distinguish, and one more colour."""


def qupath_classes(names: Sequence[str]) -> tuple[TissueClass, ...]:
    """Names and colours for the overlay, one per class name, in order.

    A synonym of one of QuPath's built-in classes (`TUM`, `tumour`, `LYM` ...) takes QuPath's name and colour, unless
    two names would then coincide; every other class keeps its name and gets an unused colour.
    """
    standard = {c.name: c for c in QUPATH_CLASSES}
    targets = [_ALIASES.get(name.strip().lower()) for name in names]
    classes = []
    n_free = 0
    for name, target in zip(names, targets, strict=True):
        if target is not None and targets.count(target) == 1:
            classes.append(standard[target])
        else:
            classes.append(TissueClass(name.strip(), _FREE_COLORS[n_free % len(_FREE_COLORS)]))
            n_free += 1
    return tuple(classes)
