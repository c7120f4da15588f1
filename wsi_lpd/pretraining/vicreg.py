"""VICReg (Bardes, Ponce, LeCun, 2022, arXiv 2105.04906): projector and loss of `lightly` behind our encoder.

It needs neither negatives nor a second network nor large batches. Two views of a patch should give the same output;
the variance term keeps outputs from being the same for every patch, the covariance term from being the same as each
other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsi_lpd.config import ModelConfig, PretrainConfig
from wsi_lpd.errors import TrainingError
from wsi_lpd.models.encoders.build import Encoder, build_encoder


class Outputs(NamedTuple):
    """The outputs for one view of a batch.

    Attributes:
        features: The deepest map used in training, averaged over positions, (B, D).
        projected: The projections that the loss compares, (B, P).
    """

    features: Tensor
    projected: Tensor


class Vicreg(nn.Module):
    """The encoder, and a projector that is discarded afterwards."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, *, projector_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self._deepest = max(range(len(encoder.scales)), key=encoder.scales.__getitem__)
        _, projector = _lightly()
        self.projector = projector(encoder.channels[self._deepest], projector_dim, projector_dim)
        self.register_buffer("mean", torch.tensor(encoder.mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Outputs:
        """Runs both on RGB in [0, 1], (B, 3, H, W)."""
        features = self.encoder((images - self.mean) / self.std)[self._deepest].mean(dim=(2, 3))
        return Outputs(features, self.projector(features))


def build_vicreg(model: ModelConfig, config: PretrainConfig) -> Vicreg:
    """The encoder as training will use it, and a new projector.

    Raises:
        ModelError: If the encoder or its weights are not available.
    """
    encoder = build_encoder(model.encoder, weights=model.weights, last_stride=model.last_stride, scales=model.scales)
    return Vicreg(encoder, projector_dim=config.projector_dim)


def build_loss(config: PretrainConfig) -> nn.Module:
    """The loss: a scalar from two projections (B, P)."""
    made, _ = _lightly()
    loss: nn.Module = made(lambda_param=config.invariance, mu_param=config.variance, nu_param=config.covariance)
    return loss


def feature_spread(features: Tensor) -> Tensor:
    """How far features differ between patches: 0 where all are equal, 1 where every direction is equally likely.

    Standard deviation over the batch of features of length 1, mean over channels, times the root of their number
    (SimSiam, arXiv 2011.10566, section 4.1).

    Args:
        features: (B, D).

    Returns:
        A scalar.
    """
    unit = nn.functional.normalize(features.float(), dim=1)
    spread: Tensor = unit.std(dim=0).mean() * features.shape[1] ** 0.5
    return spread


def timm_state(encoder: Encoder) -> dict[str, Tensor]:
    """The encoder's tensors under timm's names, on the CPU; parts unused in training are as timm initialises them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole, _ = encoder.blueprint.body()
    return dict(whole.state_dict()) | {key: value.detach().cpu() for key, value in encoder.body.state_dict().items()}


def _lightly() -> tuple[Any, Any]:
    """Loss and projector; imported here, as only this command needs the package."""
    try:
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead
    except ImportError as err:
        raise TrainingError(
            f"pretrain needs the package lightly, which cannot be imported ({err}); run pip install 'wsi-lpd[pretrain]'"
        ) from err
    return VICRegLoss, VICRegProjectionHead
