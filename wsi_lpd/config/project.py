"""All sections together, and what one asks of another."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from pydantic import Field, create_model, model_validator

from wsi_lpd.config.decoder import DecoderConfig, MasksConfig
from wsi_lpd.config.method import DEFAULT_METHOD, MethodSpec, methods
from wsi_lpd.config.model import LossConfig, ModelConfig
from wsi_lpd.config.pretrain import PretrainConfig
from wsi_lpd.config.section import Section
from wsi_lpd.config.segment import SegmentConfig
from wsi_lpd.config.tile import TileConfig
from wsi_lpd.config.train import AugmentConfig, TrainConfig

CACHED: Final = {
    "augment.mosaic": 0.0,
    "augment.stain": 0.0,
    "augment.brightness": 0.0,
    "augment.contrast": 0.0,
    "augment.blur": 0.0,
    "decoder.single_label": 0.0,
}
"""With `train.cache_features`: what a patch looks like is decided once. The eight flips and turns are cached views."""

Own = TypeVar("Own", bound=Section)


class _Common(Section):
    """The whole configuration of one project."""

    name: str = Field(
        "lpd",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Name of the run, part of its folder's name: letters, digits, dots, hyphens and underscores.",
    )
    method: str = Field(
        DEFAULT_METHOD, description="How the network learns from the labels; `docs/methods.md` compares the methods."
    )
    tile: TileConfig = TileConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    pretrain: PretrainConfig = PretrainConfig()
    masks: MasksConfig = MasksConfig()
    decoder: DecoderConfig = DecoderConfig()
    segment: SegmentConfig = SegmentConfig()

    @property
    def spec(self) -> MethodSpec:
        """What the method declares of itself."""
        return methods()[self.method]

    def own(self, kind: type[Own]) -> Own:
        """The section that a method declares; it is found by its class."""
        return next(value for name in type(self).model_fields if isinstance(value := getattr(self, name), kind))

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate: as configured, else what suits the weights that training starts from.

        Random weights of the small default encoder learn far more in the same time at a high rate (docs/methods.md);
        published ones would be lost at it.
        """
        if self.train.learning_rate is not None:
            return self.train.learning_rate
        return 1.2e-2 if self.model.weights == "none" else 1e-3

    def _value(self, key: str) -> Any:
        """A setting by its dotted key."""
        return reduce(getattr, key.split("."), cast("Any", self))

    @model_validator(mode="after")
    def _what_the_method_needs(self) -> _Common:
        for key, needed in {"model.prototypes": self.spec.prototypes, **self.spec.requires}.items():
            if self._value(key) != needed:
                raise ValueError(
                    f"{key} is {self._value(key)}, but method {self.method} needs {needed}; leave {key} out, or choose "
                    "another method"
                )
        return self

    @model_validator(mode="after")
    def _what_a_cache_needs(self) -> _Common:
        if not self.train.cache_features:
            return self
        if not self.model.frozen:
            raise ValueError("train.cache_features needs an encoder that stays as it is; set model.frozen=true")
        changing = [name for name in CACHED if self._value(name) != CACHED[name]]
        if changing:
            raise ValueError(
                "train.cache_features looks at every patch once, so its colours and neighbours cannot change; set "
                f"{', '.join(f'{name}=0' for name in changing)}, or leave them out (flips are kept, as eight views)"
            )
        return self

    @model_validator(mode="after")
    def _one_loss_weight_per_scale(self) -> _Common:
        if len(self.loss.scale_weights) != self.model.n_scales:
            raise ValueError(
                f"loss.scale_weights has {len(self.loss.scale_weights)} numbers for {self.model.n_scales} "
                "model.scales; give one each"
            )
        return self


if TYPE_CHECKING:

    class Config(_Common):
        """The whole configuration of one project."""

else:
    _SETTINGS = {name: section for spec in methods().values() for name, section in spec.settings.items()}
    Config = create_model(
        "Config",
        __base__=_Common,
        __module__=__name__,
        __doc__=_Common.__doc__,
        method=(Literal[tuple(methods())], _Common.model_fields["method"]),
        **{name: (type(section), section) for name, section in _SETTINGS.items()},
    )
