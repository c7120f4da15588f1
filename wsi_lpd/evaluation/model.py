"""Scores a model on images with true masks. The masks are used to score, never to predict.

The only module here that runs a network; the others need no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Final

import numpy as np
import torch
from torch import Tensor

from wsi_lpd.config import SegmentConfig
from wsi_lpd.errors import LabelError
from wsi_lpd.evaluation.calibration_error import ImageLevelScores, image_level_scores
from wsi_lpd.evaluation.protocols import GateName
from wsi_lpd.evaluation.report import ImageCounts, Report, tally
from wsi_lpd.evaluation.true_images import TrueImage, held_classes, label_of_mask
from wsi_lpd.models.activation import label_probabilities, labels_of
from wsi_lpd.prediction.images import ImageMaps, predict_image
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.prediction.refine import RefinementName
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.types import Int64Array, UInt8Array

_DEFAULTS: Final = SegmentConfig()


def evaluate_model(
    predictor: Predictor,
    images: Iterable[TrueImage],
    *,
    gates: Sequence[GateName] = ("predicted",),
    refinement: RefinementName = "none",
    progress: Progress = SILENT,
    config: SegmentConfig = _DEFAULTS,
    boundary_px: int | None = None,
) -> dict[GateName, Report]:
    """Predicts every image without any label, then scores the prediction under each gate.

    Args:
        predictor: The model.
        images: With truth in the model's order of classes.
        gates: How classes are weighted. `oracle` takes the classes from the truth, after the network has run: it is a
            ceiling, not a result.
        refinement: How outlines are moved to the edges in the image, before any gate.
        progress: Advances by images.
        config: Overlap, views, windows per forward pass; its gate and refinement are not used.
        boundary_px: Depth of the boundary band; None = two per cent of an image's diagonal.

    Raises:
        LabelError: If there are no images, or a truth does not match its image or the model.
    """
    classes = tuple(c.name for c in predictor.card.classes)
    settings = config.model_copy(update={"refine": refinement})
    counted: dict[GateName, list[ImageCounts]] = {gate: [] for gate in gates}
    presence, labels = [], []
    total = len(images) if isinstance(images, Sized) else 0
    with progress.stage("scoring", total, "images") as advance:
        for image in images:
            _check(image, len(classes))
            maps = predict_image(image.pixels, predictor, settings)
            presence.append(maps.image_presence)
            labels.append(label_of_mask(image.truth, len(classes)))
            for gate, counts in counted.items():
                counts.append(_count(image, maps, gate, len(classes), boundary_px))
            advance(1)
    if not labels:
        raise LabelError("found no images to score the model on, expected at least one with its mask")
    image_level = image_level_scores(np.stack(presence), np.stack(labels), classes)
    return {
        gate: _report(classes, counts, gate, refinement, predictor.card.mpp, image_level)
        for gate, counts in counted.items()
    }


def decided(maps: ImageMaps, present: Tensor | None) -> tuple[UInt8Array, UInt8Array]:
    """Two label maps (H, W), one with background and one without: values 0 to C, and 1 to C.

    Args:
        maps: The model's output.
        present: Probability that each class occurs, (C, H, W) or (C, 1, 1); None = no gate.
    """
    likelihood = label_probabilities(torch.from_numpy(maps.logits)[None], None if present is None else present[None])
    free, tissue_only = labels_of(likelihood)[0], likelihood[0, 1:].argmax(dim=0) + 1
    return free.numpy().astype(np.uint8), tissue_only.numpy().astype(np.uint8)


def _count(image: TrueImage, maps: ImageMaps, gate: GateName, n_classes: int, boundary_px: int | None) -> ImageCounts:
    present: Tensor | None = None
    if gate == "predicted":
        present = torch.from_numpy(maps.presence)
    elif gate == "oracle":
        present = torch.from_numpy(held_classes(image.truth, n_classes).astype(np.float32))[:, None, None]
    free, tissue_only = (
        tally(image.truth, prediction, n_classes, boundary_px=boundary_px) for prediction in decided(maps, present)
    )
    return ImageCounts(image.name, image.group, free, tissue_only)


def _check(image: TrueImage, n_classes: int) -> None:
    if image.pixels.shape[:2] != image.truth.shape:
        raise LabelError(
            f"{image.name}: is {image.pixels.shape[1]} x {image.pixels.shape[0]} pixels, its truth "
            f"{image.truth.shape[1]} x {image.truth.shape[0]}; expected the same"
        )
    found: Int64Array = np.flatnonzero(np.bincount(image.truth.reshape(-1), minlength=256)[:255])
    if len(found) and found[-1] > n_classes:
        raise LabelError(f"{image.name}: found the true value {found[-1]}, expected 0 to {n_classes} or 255")


def _report(
    classes: tuple[str, ...],
    counts: Sequence[ImageCounts],
    gate: GateName,
    refinement: str,
    mpp: float,
    image_level: ImageLevelScores,
) -> Report:
    grid = f"the pixels of each image at {mpp:.4g} um"
    return Report(classes, tuple(counts), grid, (), gate=gate, refinement=refinement, image_level=image_level)
