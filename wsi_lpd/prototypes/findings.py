"""All findings on a model's prototypes: the sheet, the page and the JSON file are made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

import wsi_lpd
from wsi_lpd.classes import TissueClass
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.prototypes.tally import STRONG_SHARE, ClassFigures
from wsi_lpd.types import Float64Array

_FORMAT: Final = "wsi-lpd prototypes"
_FORMAT_VERSION: Final = 1


@dataclass(frozen=True)
class ClassFindings:
    """A class, its figures, and the cosines of its prototypes."""

    tissue: TissueClass
    n_labelled: int
    """Patches in the sample that are labelled with the class."""
    figures: ClassFigures
    cosines: Float64Array
    """Of the projected prototypes at every scale, (S, K, K)."""

    @property
    def n_prototypes(self) -> int:
        """K."""
        return len(self.figures.wins)

    def closest(self, k: int) -> tuple[int, float] | None:
        """The other prototype of the class whose map correlates most with that of `k`, and the correlation."""
        others = self.figures.correlation[k].copy()
        others[k] = np.nan
        if np.isnan(others).all():
            return None
        other = int(np.nanargmax(others))
        return other, float(others[other])

    def mean_correlation(self) -> float | None:
        """Mean of `correlation` over the pairs of the class; None where no pair has one."""
        pairs = self.figures.correlation[np.triu_indices(self.n_prototypes, k=1)]
        defined = pairs[~np.isnan(pairs)]
        return float(defined.mean()) if len(defined) else None

    def describe(self) -> str:
        """The class in one line, for the terminal."""
        figures = self.figures
        if figures.usage is None or figures.coverage is None:
            return f"{self.tissue.name}: no pixels found in {self.n_labelled:,} patches labelled with it"
        shares = ", ".join(f"{share:.0%}" for share in figures.usage)
        return f"{self.tissue.name}: usage {shares}; coverage {figures.coverage:.0%}"

    def remark(self) -> str | None:
        """A sentence on what cannot be shown or compared; None where all can."""
        if self.figures.n_pixels == 0 and self.n_labelled == 0:
            return "No patch of the sample is labelled with this class, so there is nothing to show."
        if self.figures.n_pixels == 0:
            return (
                f"No pixel of this class was found in the {self.n_labelled:,} patches labelled with it, so there is "
                "nothing to show."
            )
        if self.n_prototypes == 1:
            return (
                "The class has one prototype, which is the best for every pixel; there is no other to compare it with."
            )
        unused = [str(k + 1) for k, wins in enumerate(self.figures.wins) if wins == 0]
        if unused:
            return (
                f"Not the best for any pixel: {'prototype' if len(unused) == 1 else 'prototypes'} {', '.join(unused)}."
            )
        return None


@dataclass(frozen=True)
class Findings:
    """The sample of patches, and the findings for every class."""

    run: str
    """Name of the run folder."""
    model_sha256: str
    what: str
    """Kind of the patches, such as `held-out patches`."""
    table: LabelTable
    """The table whose rows the examples name."""
    n_patches: int
    n_masks: int
    """Patches with a mask."""
    mpp: float
    patch_px: int
    scales: tuple[int, ...]
    classes: tuple[ClassFindings, ...]

    @property
    def version(self) -> str:
        """Of wsi-lpd."""
        return wsi_lpd.__version__

    @property
    def patch_um(self) -> float:
        """Side of a patch."""
        return self.patch_px * self.mpp

    def describe_patches(self) -> str:
        """Number, kind and size of the patches in the sample, in one line."""
        size = f"{self.patch_um:g} um wide ({self.patch_px} px at {self.mpp:g} um per px)"
        return f"{self.n_patches:,} {self.what}, each {size}"

    def describe_pixels(self) -> str:
        """How a pixel is assigned to a class, as a sentence."""
        pseudo = "where the model, given the patch's label, is certain of that class"
        if self.n_masks == 0:
            return f"A pixel of the feature map counts for a class {pseudo}."
        if self.n_masks == self.n_patches:
            return "A pixel of the feature map counts for the class that covers most of it in the patch's mask."
        return (
            f"A pixel of the feature map counts for the class that covers most of it in the patch's mask "
            f"({self.n_masks:,} patches have one); without a mask, for a class {pseudo}."
        )

    def source(self, row: int) -> dict[str, Any]:
        """Where a patch is: the name of its store or image file (no folders), its index in a store, its slide."""
        source = self.table.sources[row]
        place: dict[str, Any] = {"file": source.path.name}
        if source.index is not None:
            place["index"] = source.index
        return place | {"slide": self.table.groups[row]}

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain values; undefined ones are None."""
        return {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "run": self.run,
            "model_sha256": self.model_sha256,
            "version": self.version,
            "patches": self.what,
            "n_patches": self.n_patches,
            "n_masks": self.n_masks,
            "mpp": self.mpp,
            "patch_px": self.patch_px,
            "strong_share": STRONG_SHARE,
            "classes": [self._class_json(c) for c in self.classes],
        }

    def _class_json(self, found: ClassFindings) -> Mapping[str, Any]:
        figures = found.figures
        usage = figures.usage
        return {
            "name": found.tissue.name,
            "n_labelled_patches": found.n_labelled,
            "n_patches": figures.n_patches,
            "n_pixels": figures.n_pixels,
            "coverage": figures.coverage,
            "mean_correlation": found.mean_correlation(),
            "remark": found.remark(),
            "prototypes": [
                {
                    "number": k + 1,
                    "usage": None if usage is None else float(usage[k]),
                    "strong_similarity": _number(figures.strong[k]),
                    "examples": [{**self.source(e.row), "similarity": e.strength} for e in figures.examples[k]],
                }
                for k in range(found.n_prototypes)
            ],
            "correlation": _matrix(figures.correlation),
            "cosine": {f"scale {s}": _matrix(m) for s, m in zip(self.scales, found.cosines, strict=True)},
        }


def _matrix(values: Float64Array) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in values.tolist()]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
