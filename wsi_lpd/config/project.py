"""All sections together, and what one asks of another."""

from __future__ import annotations

from functools import reduce
from typing import Any, cast

from pydantic import Field, model_validator

from wsi_lpd.config.decoder import DecoderConfig, MasksConfig
from wsi_lpd.config.model import LossConfig, ModelConfig, ReferenceConfig
from wsi_lpd.config.pretrain import PretrainConfig
from wsi_lpd.config.rivals import MlpsConfig, PsclConfig, UamConfig
from wsi_lpd.config.section import Section
from wsi_lpd.config.segment import SegmentConfig
from wsi_lpd.config.tile import TileConfig
from wsi_lpd.config.train import AugmentConfig, TrainConfig
from wsi_lpd.presets import CACHED, PROTOTYPES_OF, MethodName


class Config(Section):
    """The whole configuration of one project."""

    name: str = Field("lpd", pattern=r"^[A-Za-z0-9._-]+$", description="Name of the run, part of its folder's name.")
    method: MethodName = Field("lpd", description="How the network learns from the labels.")
    tile: TileConfig = TileConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    reference: ReferenceConfig = ReferenceConfig()
    pscl: PsclConfig = PsclConfig()
    mlps: MlpsConfig = MlpsConfig()
    uam: UamConfig = UamConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    pretrain: PretrainConfig = PretrainConfig()
    masks: MasksConfig = MasksConfig()
    decoder: DecoderConfig = DecoderConfig()
    segment: SegmentConfig = SegmentConfig()

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
    def _what_the_method_needs(self) -> Config:
        if self.method == "cam" and self.model.prototypes_per_class != 1:
            raise ValueError(
                f"method cam has one prototype per class, model.prototypes_per_class is "
                f"{self.model.prototypes_per_class}; leave it out, or choose method lpd"
            )
        needed = PROTOTYPES_OF.get(self.method, "learnable")
        if self.model.prototypes != needed:
            raise ValueError(
                f"model.prototypes is {self.model.prototypes} with method {self.method}, which needs {needed}; leave "
                "model.prototypes out"
            )
        return self

    @model_validator(mode="after")
    def _what_a_cache_needs(self) -> Config:
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
    def _one_loss_weight_per_scale(self) -> Config:
        if len(self.loss.scale_weights) != self.model.n_scales:
            raise ValueError(
                f"loss.scale_weights has {len(self.loss.scale_weights)} numbers for {self.model.n_scales} "
                "model.scales; give one each"
            )
        return self
