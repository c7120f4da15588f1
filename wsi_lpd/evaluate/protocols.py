"""What is counted: the same maps give different scores under different protocols, so a score names its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from wsi_lpd.evaluate.metrics import mean_of_scored, ratio
from wsi_lpd.types import AnyArray, Int64Array

ProtocolName = Literal["A", "B"]

PROTOCOLS: Final[dict[ProtocolName, str]] = {
    "A": "true background is left out; only pixels of a true class count",
    "B": "true background counts: a class predicted there is a false positive of it",
}
"""A is that of WSSS-Tissue (MLPS), SSHR, PistoSeg and HisynSeg, B that of TPRO. Under both a prediction of
background on a true class is a miss, and background is no class of the mean."""


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
        fwiou: IoU weighted by the pixels of each class in the truth (background has no weight).
        pixel_accuracy: Share of the counted pixels with the right value; under B right background counts as well.
        confusion: Counted pixels (C + 1, C + 1), rows truth, columns prediction, background first.
    """

    protocol: ProtocolName
    classes: tuple[ClassScore, ...]
    miou: float
    mdice: float
    fwiou: float
    pixel_accuracy: float
    confusion: Int64Array

    @property
    def iou(self) -> dict[str, float]:
        """IoU by class name, of the classes that occur."""
        return {score.name: score.iou for score in self.classes if score.iou is not None}

    @property
    def absent(self) -> list[str]:
        """Classes that occur nowhere, hence are in no mean."""
        return [score.name for score in self.classes if score.iou is None]

    def to_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is null."""
        return {
            "protocol": self.protocol,
            "protocol_meaning": PROTOCOLS[self.protocol],
            "miou": _or_none(self.miou),
            "mdice": _or_none(self.mdice),
            "fwiou": _or_none(self.fwiou),
            "pixel_accuracy": _or_none(self.pixel_accuracy),
            "per_class": {
                score.name: {k: v for k, v in score._asdict().items() if k != "name"} for score in self.classes
            },
            "classes_absent_everywhere": self.absent,
            "confusion": self.confusion.tolist(),
            "confusion_labels": ["background", *(score.name for score in self.classes)],
        }


def score(counts: Int64Array, classes: Sequence[str], protocol: ProtocolName) -> Scores:
    """Scores a confusion matrix (C + 1, C + 1), rows truth, columns prediction, background first."""
    counted = counts.copy()
    if protocol == "A":
        counted[0] = 0
    hits = counted.diagonal()[1:].astype(float)
    truth, predicted = counted.sum(axis=1)[1:], counted.sum(axis=0)[1:]
    iou, dice = ratio(hits, truth + predicted - hits), ratio(2 * hits, truth + predicted)
    precision, recall = ratio(hits, predicted), ratio(hits, truth)
    per_class = tuple(
        ClassScore(
            name=name,
            iou=_or_none(iou[i]),
            dice=_or_none(dice[i]),
            precision=_or_none(precision[i]),
            recall=_or_none(recall[i]),
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
    )


def _weighted(iou: AnyArray, truth: AnyArray) -> float:
    occurs = truth > 0
    return float((iou[occurs] * truth[occurs]).sum() / truth.sum()) if occurs.any() else math.nan


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
