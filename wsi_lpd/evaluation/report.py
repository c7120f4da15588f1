"""The counts of a comparison, image by image, and the scores from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wsi_lpd.evaluation.bootstrap import DRAWS, Intervals, resampled_intervals
from wsi_lpd.evaluation.boundary import BoundaryCounts, count_boundaries
from wsi_lpd.evaluation.calibration_error import ImageLevelScores
from wsi_lpd.evaluation.metrics import confusion
from wsi_lpd.evaluation.protocols import GATES, PROTOCOLS, GateName, ProtocolName, Scores, score
from wsi_lpd.types import BACKGROUND, Int64Array, UInt8Array


@dataclass(frozen=True)
class Tally:
    """Pixel counts of one map against one truth; tallies add up.

    Attributes:
        counts: (C + 1, C + 1), rows truth, columns prediction, background first.
        boundary: Counts near contours.
    """

    counts: Int64Array
    boundary: BoundaryCounts

    def __add__(self, other: Tally) -> Tally:
        """The counts of both."""
        return Tally(self.counts + other.counts, self.boundary + other.boundary)


@dataclass(frozen=True)
class ImageCounts:
    """One image.

    Attributes:
        name: Of the image.
        group: The slide or patient it was cut from; images of one group are not independent.
        tally: Counts of the prediction.
        tissue_only: Counts of the prediction without background; None where there is only one prediction.
    """

    name: str
    group: str
    tally: Tally
    tissue_only: Tally | None = None

    def under(self, protocol: ProtocolName) -> Tally:
        """The counts under a protocol."""
        if self.tissue_only is None or PROTOCOLS[protocol].predicted_background:
            return self.tally
        return self.tissue_only


@dataclass(frozen=True)
class Report:
    """Pixel counts of a comparison, from which each protocol computes its scores.

    Attributes:
        classes: The scored classes.
        images: The counts of each image, at least one.
        grid: The grid on which pixels were compared, in words.
        warnings: What a reader of the scores should know.
        gate: How a model's classes were weighted; None for predictions from files.
        refinement: How a model's maps were refined; None for predictions from files.
        image_level: How well a model predicts which classes an image contains.
    """

    classes: tuple[str, ...]
    images: tuple[ImageCounts, ...]
    grid: str
    warnings: tuple[str, ...]
    gate: GateName | None = None
    refinement: str | None = None
    image_level: ImageLevelScores | None = None

    @property
    def n_images(self) -> int:
        """Images that were counted together."""
        return len(self.images)

    @property
    def n_groups(self) -> int:
        """Source slides that the images come from."""
        return len({image.group for image in self.images})

    @cached_property
    def counts(self) -> Int64Array:
        """(C + 1, C + 1) of all images, rows truth, columns prediction, background first."""
        return self.total("B").counts

    def total(self, protocol: ProtocolName) -> Tally:
        """The counts of all images under a protocol."""
        first, *others = (image.under(protocol) for image in self.images)
        return sum(others, start=first)

    def scores(self, protocol: ProtocolName) -> Scores:
        """The scores under one protocol, summed over all images before dividing."""
        total = self.total(protocol)
        return score(total.counts, self.classes, protocol, boundary=total.boundary)

    def intervals(self, protocol: ProtocolName, *, draws: int = DRAWS, seed: int = 0) -> Intervals | None:
        """95 % intervals by resampling groups; None if all images are of one group."""
        tallies = [image.under(protocol) for image in self.images]
        row = int(PROTOCOLS[protocol].true_background)
        counts = np.stack([tally.counts for tally in tallies])
        if not row:
            counts[:, BACKGROUND] = 0
        return resampled_intervals(
            counts,
            np.stack([tally.boundary.shared[row] for tally in tallies]),
            np.stack([tally.boundary.either[row] for tally in tallies]),
            [image.group for image in self.images],
            self.classes,
            draws=draws,
            seed=seed,
        )

    def notes(self, protocol: ProtocolName) -> tuple[str, ...]:
        """What a reader of the scores under one protocol should know."""
        n_open = int(self.counts[:, BACKGROUND].sum())
        if self.gate is None and not PROTOCOLS[protocol].predicted_background and n_open:
            return (
                f"{protocol} allows no predicted background; the files contain {n_open:,} such pixels, which count as "
                "misses on a true class and as right elsewhere, as under B",
            )
        return ()

    def to_json(
        self, protocols: Sequence[ProtocolName] = ("A", "B"), *, draws: int = DRAWS, seed: int = 0
    ) -> dict[str, Any]:
        """Plain values for `--json`; with `draws=0` there are no intervals."""
        return {
            "classes": list(self.classes),
            "n_images": self.n_images,
            "n_groups": self.n_groups,
            "grid": self.grid,
            "gate": None if self.gate is None else {"name": self.gate, "meaning": GATES[self.gate]},
            "refinement": self.refinement,
            "protocols": {name: self._protocol_json(name, draws, seed) for name in protocols},
            "warnings": list(self.warnings),
        }

    def _protocol_json(self, protocol: ProtocolName, draws: int, seed: int) -> dict[str, Any]:
        intervals = self.intervals(protocol, draws=draws, seed=seed) if draws else None
        return {
            **self.scores(protocol).to_json(),
            "gate": "as in the files" if self.gate is None else self.gate,
            "refinement": "as in the files" if self.refinement is None else self.refinement,
            "intervals": None if intervals is None else intervals.to_json(),
            "notes": list(self.notes(protocol)),
        }


def tally(truth: UInt8Array, prediction: UInt8Array, n_classes: int, *, boundary_px: int | None = None) -> Tally:
    """Counts one prediction.

    Args:
        truth: (h, w), 0 background, i + 1 class i, 255 not judged.
        prediction: The same; 255 counts as background.
        n_classes: C.
        boundary_px: Depth of the boundary band; None = two per cent of the diagonal.

    Raises:
        ValueError: If shapes differ or a value is neither 255 nor in 0 to C.
    """
    counts = confusion(truth, prediction, n_classes)
    return Tally(counts, count_boundaries(truth, prediction, n_classes, width_px=boundary_px))
