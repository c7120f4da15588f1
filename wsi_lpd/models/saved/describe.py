"""The card of a model that has just been trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from wsi_lpd.classes import TissueClass
from wsi_lpd.config import Config
from wsi_lpd.models.encoders.build import Encoder
from wsi_lpd.models.saved.card import Calibration, CardClass, EncoderCard, ModelCard
from wsi_lpd.versions import versions_of

_PACKAGES: Final = ("torch", "timm", "numpy")


def describe_model(
    config: Config,
    *,
    encoder: Encoder,
    classes: Sequence[TissueClass],
    label_columns: Sequence[str],
    mpp: float,
    patch_px: int | None,
    calibration: Calibration,
    metrics: Mapping[str, float],
    data_fingerprint: str,
) -> ModelCard:
    """The card of a model trained with `config`; without `patch_px` (image files) it is the configured one."""
    model = config.model
    return ModelCard(
        method=config.method,
        classes=tuple(CardClass(name=c.name, color=c.color) for c in classes),
        label_columns=tuple(label_columns),
        mpp=mpp,
        patch_px=config.tile.patch_px if patch_px is None else patch_px,
        mean=encoder.mean,
        std=encoder.std,
        encoder=EncoderCard(
            name=encoder.name,
            architecture=encoder.blueprint.architecture,
            arguments=dict(encoder.blueprint.arguments),
            scales=encoder.scales,
            channels=encoder.channels,
            reductions=encoder.reductions,
            last_stride=model.last_stride,
            weights=encoder.weights,
            licence=encoder.licence,
        ),
        fusion_weights=model.fusion_weights,
        prototypes_per_class=model.prototypes_per_class,
        prototype_dim=model.prototype_dim,
        background=model.background,
        calibration=calibration,
        metrics=dict(metrics),
        data_fingerprint=data_fingerprint,
        versions=versions_of(_PACKAGES),
        config=config,
    )
