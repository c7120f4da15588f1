"""A trained model at hand: it maps images and slides, and takes no label."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import numpy as np
import torch

from wsi_lpd.api.batch import OnError, Tell, own_errors
from wsi_lpd.api.options import PathLike, Settings, configuration, one_of, optional_path
from wsi_lpd.api.segmenting import SegmentResult, segment
from wsi_lpd.api.slides import SlideMpp
from wsi_lpd.config import SegmentConfig
from wsi_lpd.errors import OptionError
from wsi_lpd.images.resize import resize
from wsi_lpd.models.activation import label_probabilities, labels_of
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.saved.runs import find_run
from wsi_lpd.prediction.images import predict_image
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.progress import Progress
from wsi_lpd.types import Float32Array, Size, UInt8Array

if TYPE_CHECKING:
    from PIL.Image import Image

    from wsi_lpd.api.slides import Slides

logger = logging.getLogger(__name__)

_SAME_MPP: Final = 0.01
"""Scales that differ by less than this share are the same."""


class SegmentOptions(TypedDict, total=False):
    """The keywords of `segment` but the model, for `Model.segment`."""

    slide_mpp: SlideMpp
    overlap: float | None
    gate: str | None
    simplify: float | None
    max_vertices: int | None
    min_area: float | None
    min_hole: float | None
    merge: bool | None
    origin: str | None
    tissue_mask: PathLike | None
    allow_upsampling: bool | None
    mask: PathLike | None
    picture: PathLike | None
    config: PathLike | None
    settings: Settings
    device: str
    workers: int | None
    scheduler: str | None
    scheduler_file: PathLike | None
    overwrite: bool
    on_error: OnError
    progress: Progress
    tell: Tell


@dataclass(frozen=True)
class Prediction:
    """What a model says of an image, at the image's own pixels.

    Attributes:
        classes: Names; class i has the value i + 1 of the class map and the channel i + 1 of the probabilities.
        class_map: uint8 (H, W); 0 is background.
        probabilities: float32 (C + 1, H, W), background first; they sum to 1 at every pixel.
        presence: float32 (C,), calibrated probability that the image holds each class.
    """

    classes: tuple[str, ...]
    class_map: UInt8Array = field(repr=False)
    probabilities: Float32Array = field(repr=False)
    presence: Float32Array

    @property
    def shares(self) -> dict[str, float]:
        """Share of the image's pixels that each class covers."""
        pixels = np.bincount(self.class_map.reshape(-1), minlength=len(self.classes) + 1)
        return {name: float(n / self.class_map.size) for name, n in zip(self.classes, pixels[1:], strict=True)}


class Model:
    """A trained model.

    Attributes:
        run: Its run folder.
        classes: Names of its classes in order.
        mpp: Micrometres per pixel it was trained at.
        patch_px: Side of its training patches in pixels.
        predictor: The network on its device, for windows at `mpp`.
    """

    def __init__(self, predictor: Predictor, run: Path) -> None:
        self.predictor = predictor
        self.run = run
        self.classes: tuple[str, ...] = tuple(c.name for c in predictor.card.classes)
        self.mpp: float = predictor.card.mpp
        self.patch_px: int = predictor.card.patch_px

    def predict(
        self,
        image: UInt8Array | Image,
        *,
        mpp: float | None = None,
        gate: str = "auto",
        config: PathLike | SegmentConfig | None = None,
        settings: Settings = (),
    ) -> Prediction:
        """Classifies every pixel of an image of tissue.

        Args:
            image: RGB uint8 (H, W, 3), or a PIL picture of any mode.
            mpp: Micrometres per pixel of the image; None = the model's. The image is resampled to the model's scale,
                and the result to the image's own pixels; the log warns of a coarser image, which is enlarged.
            gate: Weigh classes by whether they occur nearby: `auto`, `predicted` or `none`.
            config: A configuration file, or a section `segment`.
            settings: Other configuration values, such as `["segment.views=8", "segment.refine=pamr"]`.

        Raises:
            OptionError: If the image is no such array, or `mpp` no positive number.
            ConfigError: If a setting is wrong.
        """
        pixels = _rgb(image)
        if mpp is not None and _positive(mpp) > self.mpp * (1 + _SAME_MPP):
            logger.warning("image has %.4g um/px, coarser than the model's %.4g: it is enlarged", mpp, self.mpp)
        one_of("--gate", gate, ("auto", "predicted", "none"))
        scale = 1.0 if mpp is None else mpp / self.mpp
        size_px = Size(pixels.shape[1], pixels.shape[0])
        looked = pixels if abs(scale - 1) < _SAME_MPP else resize(pixels, _scaled(size_px, scale))
        chosen = config if isinstance(config, SegmentConfig) else configuration(config, settings).segment
        maps = predict_image(looked, self.predictor, chosen)
        presence = torch.from_numpy(maps.presence)[None] if self.predictor.gates(gate) else None  # type: ignore[arg-type]
        likelihood = label_probabilities(torch.from_numpy(maps.logits)[None], presence)
        likelihood = _at(likelihood, size_px)
        labels: UInt8Array = labels_of(likelihood)[0].numpy()
        return Prediction(self.classes, labels, likelihood[0].numpy(), maps.image_presence)

    def segment(self, slides: Slides, out: PathLike = ".", **options: Unpack[SegmentOptions]) -> SegmentResult:
        """Turns slides into tissue maps for QuPath; `out` and all keywords are those of `wsi_lpd.segment`.

        Args:
            slides: Path, URL or open slide; a folder; a list; or several of these.
            out: The overlay to write, or a folder for `<slide>.geojson`.
            options: Keywords of `wsi_lpd.segment`.

        Returns, and raises: As `wsi_lpd.segment`.
        """
        return segment(slides, out, model=self, **options)

    def check_device(self, device: str) -> None:
        """Refuses another device than the model's own.

        Raises:
            OptionError: If `device` is neither `auto` nor where the model is.
        """
        if device != "auto" and choose_device(device).type != self.predictor.device.type:
            raise OptionError(f"--device {device}: the model is on {self.predictor.device}; load it there instead")

    def __repr__(self) -> str:
        """Name, classes and scale."""
        return f"<Model {self.run.name}: {', '.join(self.classes)} at {self.mpp:g} um/px>"


def load_model(model: PathLike | None = None, *, device: str = "auto") -> Model:
    """Loads a trained model.

    Args:
        model: A run folder or a file in it; None = `$WSI_LPD_MODEL`, then the newest run in `runs/`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        ModelError: If there is no such run or device.
    """
    with own_errors():
        run = find_run(optional_path(model))
        return Model(Predictor.load(run, choose_device(device)), run)


def _rgb(image: Any) -> UInt8Array:
    pixels = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise OptionError(f"image is {pixels.dtype} {pixels.shape}, expected RGB uint8 (H, W, 3) or a PIL picture")
    return np.ascontiguousarray(pixels)


def _positive(mpp: float) -> float:
    if not 0 < mpp < float("inf"):
        raise OptionError(f"mpp is {mpp}, expected micrometres per pixel above 0, such as 0.5")
    return mpp


def _scaled(size_px: Size, scale: float) -> Size:
    return Size(max(1, round(size_px.width * scale)), max(1, round(size_px.height * scale)))


def _at(likelihood: torch.Tensor, size_px: Size) -> torch.Tensor:
    """Probabilities (1, C + 1, h, w) at another size; they still sum to 1."""
    if likelihood.shape[-2:] == (size_px.height, size_px.width):
        return likelihood
    shape = (size_px.height, size_px.width)
    return torch.nn.functional.interpolate(likelihood, size=shape, mode="bilinear", align_corners=False)
