"""The public patch data sets whose files are read as they come: classes, coding, scale, licence and source of each.

This table is the only place that states them. Folders of labelled patches (`wsi_lpd.labels.folders`), true masks
(`wsi_lpd.evaluation.read`), `--coding`, the benchmarks and `docs/configuration.md` read it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wsi_lpd.classes import TissueClass, qupath_classes


class DataSet(NamedTuple):
    """A public data set of patches with image-level labels in their file names, and of masks of class numbers.

    Attributes:
        name: As its authors write it.
        tissue: Organ, stain and magnification.
        labels: Class names in its own spelling, in the order of the digits in a file name and of the mask values.
        names: The same classes as QuPath names them.
        separator: Between two digits of a label: `[1010]`, `[1 0 1 0]` or `[1, 0, 1]`.
        background: Mask value of background; classes count from 0.
        mpp: Micrometres per pixel.
        patch_px: Side of its training patches; None = they differ.
        licence: Under which terms the data come, as far as their authors say.
        source: Where it is described.
    """

    name: str
    tissue: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    separator: str
    background: int
    mpp: float
    patch_px: int | None
    licence: str
    source: str

    @property
    def key(self) -> str:
        """Its name on the command line and in configurations, lower case."""
        return self.name.lower()

    @property
    def classes(self) -> tuple[TissueClass, ...]:
        """The classes with their colours."""
        return qupath_classes(self.names)


DATA_SETS: Final = (
    DataSet(
        "BCSS-WSSS",
        tissue="breast, H&E, 40x",
        labels=("TUM", "STR", "LYM", "NEC"),
        names=("Tumor", "Stroma", "Immune cells", "Necrosis"),
        separator="",
        background=4,
        mpp=0.25,
        patch_px=224,
        licence="none stated; cut from BCSS, which is CC0 1.0",
        source="https://doi.org/10.1016/j.media.2022.102487",
    ),
    DataSet(
        "LUAD-HistoSeg",
        tissue="lung, H&E, 10x",
        labels=("TE", "NEC", "LYM", "TAS"),
        names=("Tumor", "Necrosis", "Immune cells", "Stroma"),
        separator=" ",
        background=4,
        mpp=1.0,
        patch_px=224,
        licence="none stated",
        source="https://doi.org/10.1016/j.media.2022.102487",
    ),
    DataSet(
        "WSSS4LUAD",
        tissue="lung, H&E, 10x",
        labels=("tumor", "stroma", "normal"),
        names=("Tumor", "Stroma", "Normal"),
        separator=", ",
        background=3,
        mpp=1.0,
        patch_px=None,
        licence="research only",
        source="https://arxiv.org/abs/2204.06455",
    ),
)


def data_set(key: str) -> DataSet | None:
    """The data set with this key (`bcss-wsss`, `luad-histoseg`, `wsss4luad`), or None."""
    return next((found for found in DATA_SETS if found.key == key), None)
