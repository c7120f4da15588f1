"""Class activation maps: the plain floor that prototypes have to beat."""

from __future__ import annotations

from wsi_lpd.config import Config
from wsi_lpd.methods.base import Losses, Method, Step
from wsi_lpd.methods.terms import image_terms


class Cam(Method):
    """One prototype per class is a cosine classifier per position; only the label and the glass speak."""

    def __init__(self, config: Config) -> None:
        self.config = config.loss

    def losses(self, step: Step) -> Losses:
        """Classification, exclusion (off by the method's preset) and background."""
        return Losses(image_terms(step, step.student(step.images), self.config))


Learning = Cam
