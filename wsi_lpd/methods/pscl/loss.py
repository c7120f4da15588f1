"""PSCL: a linear classifier of the last stage, and a contrast between the positions that it is sure of."""

from __future__ import annotations

import torch
from torch import Tensor

from wsi_lpd.config import Config
from wsi_lpd.losses.contrast import supervised_contrast
from wsi_lpd.methods.base import Losses, Method, Step
from wsi_lpd.methods.pscl import PsclConfig
from wsi_lpd.methods.terms import image_terms, ramp
from wsi_lpd.models.activation import stretched_to_one


class Pscl(Method):
    """Multi-label soft margin, and after the first of five epochs the pseudo-supervised contrast.

    The multi-label soft margin is the binary cross-entropy that all methods have.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = config.own(PsclConfig)

    def losses(self, step: Step) -> Losses:
        """Classification, background and contrast."""
        output = step.student(step.images)
        terms = image_terms(step, output, self.config.loss)
        strength = ramp(step.progress, self.config.loss)
        settings = self.settings
        if strength > 0 and settings.contrast_weight > 0:
            members = confident_positions(
                output.class_maps[-1],
                step.labels,
                confidence=self._confidence(step.progress),
                most_per_image=settings.most_per_image,
                most_per_batch=settings.most_per_batch,
            )
            image, classes, y, x = members.nonzero(as_tuple=True)
            features = output.features[-1][image, :, y, x]
            contrast = supervised_contrast(features, classes, temperature=settings.temperature)
            terms["contrast"] = strength * settings.contrast_weight * contrast
        return Losses(terms)

    def _confidence(self, progress: float) -> float:
        """From the first to the last, evenly."""
        settings, start = self.settings, self.config.loss.start
        share = (progress - start) / (1 - start) if start < 1 else 1.0
        return settings.first_confidence + share * (settings.last_confidence - settings.first_confidence)


@torch.no_grad()
def confident_positions(
    class_maps: Tensor, labels: Tensor, *, confidence: float, most_per_image: int, most_per_batch: int
) -> Tensor:
    """Positions whose strongest class, of those on the label, is above a threshold; the surest where there are many.

    Maps are stretched to [0, 1] per patch and class. A background of `(1 - max)^gamma`, as the source has it, never
    wins above a threshold of 0.17 (gamma 10): the threshold alone decides.

    Args:
        class_maps: Logits, (B, C, h, w).
        labels: 1, 0 or -1 (not labelled: takes no part), (B, C).
        confidence: The threshold, in (0, 1).
        most_per_image: Positions per class and patch.
        most_per_batch: Positions per class.

    Returns:
        True where position n stands for class c, at most one class per position, (B, C, h, w).
    """
    activation = stretched_to_one(class_maps.float()) * (labels == 1)[:, :, None, None]
    best, winner = activation.max(dim=1, keepdim=True)
    sure = torch.zeros_like(activation).scatter_(1, winner, best * (best > confidence))
    of_images = _highest(sure.flatten(2), most_per_image)
    of_batch = _highest(of_images.transpose(0, 1).flatten(1), most_per_batch)
    n_classes, (height, width) = labels.shape[1], class_maps.shape[-2:]
    return (of_batch.reshape(n_classes, -1, height, width) > 0).transpose(0, 1)


def _highest(values: Tensor, most: int) -> Tensor:
    """(..., N) with all but the `most` highest set to 0."""
    kept, where = values.topk(min(most, values.shape[-1]), dim=-1)
    return torch.zeros_like(values).scatter_(-1, where, kept)


Learning = Pscl
