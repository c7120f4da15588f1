"""What is counted. The same maps score differently under different protocols, so every score names its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from wsi_lpd.evaluation.boundary import BoundaryCounts, BoundaryScores, boundary_scores
from wsi_lpd.evaluation.metrics import mean_of_scored, or_none, ratio
from wsi_lpd.types import AnyArray, Int64Array

ProtocolName = Literal["A", "B", "C", "D"]
GateName = Literal["none", "predicted", "oracle"]


class PixelRule(NamedTuple):
    """What a protocol counts, and how it was used in publications.

    Attributes:
        meaning: The rule in a sentence.
        true_background: Whether pixels of true background count.
        predicted_background: Whether a prediction may be background. Where it may not, a model predicts its likeliest
            class everywhere; a file is taken as it is, and background on a true class is a miss.
        published_with: Who reports it, and with which gate and post-processing.
    """

    meaning: str
    true_background: bool
    predicted_background: bool
    published_with: str


PROTOCOLS: Final[dict[ProtocolName, PixelRule]] = {
    "A": PixelRule(
        "true background is left out; only pixels of a true class count",
        true_background=False,
        predicted_background=True,
        published_with="MLPS, SSHR, PistoSeg, HisynSeg: their own classifier's gate or none, no refinement",
    ),
    "B": PixelRule(
        "true background counts: a class predicted there is a false positive",
        true_background=True,
        predicted_background=True,
        published_with="TPRO: its own classifier's gate, a white prior on LUAD",
    ),
    "C": PixelRule(
        "true background counts, and no prediction may be background: all of it is false positives",
        true_background=True,
        predicted_background=False,
        published_with="PBIP: the ORACLE gate, taken from the true mask; no refinement",
    ),
    "D": PixelRule(
        "true background counts, as under B",
        true_background=True,
        predicted_background=True,
        published_with="LPD, DualProtoSeg, ConStruct: the ORACLE gate, taken from the true mask; dense CRF",
    ),
}
"""Under all of them, background predicted on a true class is a miss, and background is not a class in the mean."""

GATES: Final[dict[GateName, str]] = {
    "none": "every class competes everywhere",
    "predicted": "a class is weighted by the model's own probability that it occurs nearby; no label is used",
    "oracle": "classes absent from the TRUE mask are excluded: a ceiling that uses the truth, never a result",
}


class ClassScore(NamedTuple):
    """Scores of one class; None where it occurs neither in the truth nor in the prediction."""

    name: str
    iou: float | None
    dice: float | None
    precision: float | None
    recall: float | None
    truth_px: int
    predicted_px: int


@dataclass(frozen=True)
class Scores:
    """Scores under one protocol.

    Attributes:
        protocol: Its name, a key of `PROTOCOLS`.
        classes: One entry per class.
        miou: Mean IoU over the classes that occur; NaN if none does.
        mdice: Mean Dice over the same.
        fwiou: IoU weighted by the true pixels of each class (background has no weight).
        pixel_accuracy: Share of the counted pixels with the right value; under B right background counts as well.
        confusion: Counted pixels (C + 1, C + 1), rows truth, columns prediction, background first.
        boundary: Scores near contours; None where only pixels were counted.
    """

    protocol: ProtocolName
    classes: tuple[ClassScore, ...]
    miou: float
    mdice: float
    fwiou: float
    pixel_accuracy: float
    confusion: Int64Array
    boundary: BoundaryScores | None = None

    @property
    def iou(self) -> dict[str, float]:
        """IoU by class name, of the classes that occur."""
        return {score.name: score.iou for score in self.classes if score.iou is not None}

    @property
    def absent(self) -> list[str]:
        """Classes that occur nowhere and so are not in the means."""
        return [score.name for score in self.classes if score.iou is None]

    def to_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is null."""
        rule = PROTOCOLS[self.protocol]
        return {
            "protocol": self.protocol,
            "protocol_meaning": rule.meaning,
            "pixel_rule": {
                "true_background": "counted" if rule.true_background else "left out",
                "predicted_background": "allowed" if rule.predicted_background else "not allowed",
            },
            "published_with": rule.published_with,
            "miou": or_none(self.miou),
            "mdice": or_none(self.mdice),
            "fwiou": or_none(self.fwiou),
            "pixel_accuracy": or_none(self.pixel_accuracy),
            "per_class": {
                score.name: {k: v for k, v in score._asdict().items() if k != "name"} for score in self.classes
            },
            "classes_absent_everywhere": self.absent,
            "boundary": None if self.boundary is None else self.boundary.to_json(tuple(c.name for c in self.classes)),
            "confusion": self.confusion.tolist(),
            "confusion_labels": ["background", *(score.name for score in self.classes)],
        }


def score(
    counts: Int64Array, classes: Sequence[str], protocol: ProtocolName, *, boundary: BoundaryCounts | None = None
) -> Scores:
    """Scores a confusion matrix (C + 1, C + 1), rows truth, columns prediction, background first.

    Args:
        counts: The matrix, before the protocol leaves anything out.
        classes: C names.
        protocol: A key of `PROTOCOLS`.
        boundary: Counts near the contours of the same maps, where there are any.
    """
    kept = PROTOCOLS[protocol].true_background
    counted = counts.copy()
    if not kept:
        counted[0] = 0
    hits = counted.diagonal()[1:].astype(float)
    truth, predicted = counted.sum(axis=1)[1:], counted.sum(axis=0)[1:]
    iou, dice = ratio(hits, truth + predicted - hits), ratio(2 * hits, truth + predicted)
    precision, recall = ratio(hits, predicted), ratio(hits, truth)
    per_class = tuple(
        ClassScore(
            name=name,
            iou=or_none(iou[i]),
            dice=or_none(dice[i]),
            precision=or_none(precision[i]),
            recall=or_none(recall[i]),
            truth_px=int(truth[i]),
            predicted_px=int(predicted[i]),
        )
        for i, name in enumerate(classes)
    )
    return Scores(
        protocol=protocol,
        classes=per_class,
        miou=mean_of_scored(iou),
        mdice=mean_of_scored(dice),
        fwiou=_weighted(iou, truth),
        pixel_accuracy=float(ratio(counted.trace(), counted.sum())),
        confusion=counted,
        boundary=None if boundary is None else boundary_scores(boundary, counts, true_background=kept),
    )


def _weighted(iou: AnyArray, truth: AnyArray) -> float:
    occurs = truth > 0
    return float((iou[occurs] * truth[occurs]).sum() / truth.sum()) if occurs.any() else math.nan
