"""The published patch data sets that are read as they come: one table for labels, masks, scales and `--coding`."""

from __future__ import annotations

from typing import Final, NamedTuple


class DataSet(NamedTuple):
    """A published data set, recognised by its file names.

    Attributes:
        name: As published.
        separator: Text between two digits of a label in a file name.
        labels: Class names in the order of the digits, as the data set has them.
        classes: The same classes by QuPath's names, in the order of the mask values (counted from 0).
        background: Mask value of background.
        mpp: Micrometres per pixel of its patches.
    """

    name: str
    separator: str
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    background: int
    mpp: float

    @property
    def coding(self) -> str:
        """Its name for `--coding`."""
        return self.name.lower()


DATA_SETS: Final = (
    DataSet("BCSS-WSSS", "", ("TUM", "STR", "LYM", "NEC"), ("Tumor", "Stroma", "Immune cells", "Necrosis"), 4, 0.25),
    # Necrosis comes second.
    DataSet("LUAD-HistoSeg", " ", ("TE", "NEC", "LYM", "TAS"), ("Tumor", "Necrosis", "Immune cells", "Stroma"), 4, 1.0),
    DataSet("WSSS4LUAD", ", ", ("tumor", "stroma", "normal"), ("Tumor", "Stroma", "Normal"), 3, 1.0),
)

INDEX_CODING: Final = "index"
"""Ours: 0 is background and class i has the value i + 1."""

CODING_NAMES: Final = (INDEX_CODING, *(data_set.coding for data_set in DATA_SETS))
"""What `--coding` takes."""
