"""The model card: all that is needed to use a trained model, in `model.json`. Reading it needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

import wsi_lpd
from wsi_lpd.config import Config
from wsi_lpd.errors import ModelError

if TYPE_CHECKING:
    from wsi_lpd.models.encoders.blueprint import Blueprint

CARD_FILE: Final = "model.json"
FORMAT_VERSION: Final = 1
_FORMAT: Final = "wsi-lpd model"

_Triple = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CardClass(_Part):
    """A class as the overlay shows it: its name and colour (R, G, B), 0 to 255."""

    name: str = Field(min_length=1)
    color: tuple[int, int, int]


class Calibration(_Part):
    """Image-level probability of class c: sigmoid((logit - offset[c]) / temperature[c])."""

    temperature: tuple[float, ...]
    offset: tuple[float, ...]

    @model_validator(mode="after")
    def _usable(self) -> Calibration:
        if not all(math.isfinite(t) and t > 0 for t in self.temperature) or not all(map(math.isfinite, self.offset)):
            raise ValueError("temperatures must be positive numbers and offsets finite ones")
        return self


class EncoderCard(_Part):
    """The encoder, what timm builds for it (None = its name), and where its weights came from."""

    name: str
    architecture: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    scales: tuple[int, ...]
    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    last_stride: int
    weights: str
    licence: str | None


class ModelCard(_Part):
    """What `model.json` says.

    Attributes:
        classes: Name and colour in the overlay, in the order of the network's outputs.
        label_columns: The same classes as the label file names them.
        mpp: Micrometres per pixel that the model was trained at.
        patch_px: Side of a training patch, in pixels at `mpp`.
        mean: Subtracted from images in [0, 1], RGB order.
        std: Divided by afterwards, RGB order.
        metrics: Scores on the held-out patches; None where a score is not defined.
        data_fingerprint: Hash of labels and patch places.
        config: The whole resolved configuration; the network is rebuilt from its `model` section.
        weights_sha256: Hash of `model.safetensors`; filled when it is written.
    """

    format: Literal["wsi-lpd model"] = _FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    method: str
    classes: tuple[CardClass, ...] = Field(min_length=1)
    label_columns: tuple[str, ...]
    mpp: float = Field(gt=0)
    patch_px: int = Field(gt=0)
    mean: _Triple
    std: _Triple
    encoder: EncoderCard
    fusion_weights: tuple[float, ...]
    prototypes_per_class: int = Field(ge=1)
    prototype_dim: int = Field(ge=1)
    background: bool
    calibration: Calibration
    metrics: dict[str, float | None]
    data_fingerprint: str
    versions: dict[str, str]
    config: Config
    weights_sha256: str | None = None

    @field_validator("metrics")
    @classmethod
    def _no_nan(cls, metrics: dict[str, float | None]) -> dict[str, float | None]:
        # JSON has no NaN: a class without patches has no score, and the file says null.
        return {key: None if value is None or not math.isfinite(value) else value for key, value in metrics.items()}

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> ModelCard:
        n_classes = len(self.classes)
        for name, values in (
            ("label_columns", self.label_columns),
            ("calibration.temperature", self.calibration.temperature),
            ("calibration.offset", self.calibration.offset),
        ):
            if len(values) != n_classes:
                raise ValueError(f"{name} has {len(values)} entries for {n_classes} classes")
        model = self.config.model
        for name, stated, configured in (
            ("encoder.name", self.encoder.name, model.encoder),
            ("encoder.scales", self.encoder.scales, self.encoder.scales if model.scales is None else model.scales),
            ("encoder.last_stride", self.encoder.last_stride, model.last_stride),
            ("fusion_weights", self.fusion_weights, model.fusion_weights),
            ("prototypes_per_class", self.prototypes_per_class, model.prototypes_per_class),
            ("prototype_dim", self.prototype_dim, model.prototype_dim),
            ("background", self.background, model.background),
        ):
            if stated != configured:
                raise ValueError(f"{name} is {stated}, but config.model says {configured}")
        return self

    def blueprint(self) -> Blueprint:
        """What timm builds for the encoder, and the statistics of its input: neither hub nor folder is asked again."""
        from wsi_lpd.models.encoders.blueprint import Blueprint

        encoder = self.encoder
        architecture = encoder.name if encoder.architecture is None else encoder.architecture
        return Blueprint(architecture, encoder.arguments, self.mean, self.std, licence=encoder.licence)


def load_card(folder: Path) -> ModelCard:
    """Reads the card of a run folder.

    Raises:
        ModelError: If there is none, or it is damaged, foreign, or of a format this version does not read.
    """
    path = folder / CARD_FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ModelError(f"{folder}: holds no {CARD_FILE}, so it is no finished run; give one made by `train`") from err
    except (OSError, ValueError) as err:
        raise ModelError(f"{path}: cannot be read as JSON ({err}); copy the run folder again or train again") from err
    _check_format(path, tree)
    try:
        card = ModelCard.model_validate(tree)
    except ValidationError as err:
        problems = "; ".join(_problem(problem) for problem in err.errors()[:3])
        raise ModelError(
            f"{path}: {err.error_count()} problem(s) in the model card: {problems}. Was it edited, or cut off? "
            "Copy the run folder again or train again."
        ) from err
    if card.weights_sha256 is None:
        raise ModelError(f"{path}: weights_sha256 is missing; copy the run folder again or train again")
    return card


def _check_format(path: Path, tree: Any) -> None:
    if not isinstance(tree, dict) or tree.get("format") != _FORMAT:
        raise ModelError(
            f"{path}: is no model card of wsi-lpd (no format: {_FORMAT!r} in it); give a run made by `train`"
        )
    if tree.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{path}: has format version {tree.get('format_version')}, this wsi-lpd ({wsi_lpd.__version__}) reads "
            f"{FORMAT_VERSION}; use the version that wrote it ({_written_by(tree)}), or train again"
        )


def _written_by(tree: Mapping[str, Any]) -> str:
    versions = tree.get("versions")
    return str(versions.get("wsi-lpd", "not stated")) if isinstance(versions, dict) else "not stated"


def _problem(problem: Mapping[str, Any]) -> str:
    key = ".".join(map(str, problem["loc"]))
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
