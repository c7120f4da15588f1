"""MLPS (Han et al., Medical Image Analysis 2022): progressive dropout attention, and pseudo masks of three layers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from wsi_lpd.config import Config
from wsi_lpd.methods.base import Losses, Method, Step, presence_of
from wsi_lpd.methods.mlps import MlpsConfig
from wsi_lpd.methods.terms import image_terms
from wsi_lpd.models.gradcam import grad_cams
from wsi_lpd.models.network import LpdNetwork

_EPOCHS = 20
_DECAY = 0.98


class Mlps(Method):
    """A linear classifier that, as training goes on, has to do without the positions it leans on most."""

    mask_weights = (0.6, 0.2, 0.2)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.settings = config.own(MlpsConfig)

    def losses(self, step: Step) -> Losses:
        """Classification (of what the attention leaves, once it has begun) and background."""
        output = step.student(step.images)
        settings = self.settings
        if step.progress >= settings.attention_start:
            gamma = gamma_at(step.progress, least=settings.least_gamma)
            # The classifier has no bias: its maps of weighted features are its weighted maps.
            attended = [(dropout_attention(maps, gamma) * maps).mean(dim=(2, 3)) for maps in output.class_maps]
            output = replace(output, class_logits=attended)
        return Losses(image_terms(step, output, self.config.loss))

    @torch.no_grad()
    def mask_layers(self, network: LpdNetwork, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Grad-CAM at the last three stages, the deepest first.

        The deepest map is the network's own. The others are known up to a scale: over all classes together, lowest and
        highest are brought to those of the deepest map, so that one background serves all three.
        """
        output, cams = grad_cams(network, images, n_stages=len(self.mask_weights))
        own = output.fused_maps.float()
        maps = [own, *(_brought_to(cam, own) for cam in cams[-2::-1])]
        presence = presence_of(labels, output.fused_logits)
        scales = [[of_layer] * len(output.class_maps) for of_layer in maps]
        return [network.map_logits(replace(output, class_maps=same, fused_maps=same[0]), presence) for same in scales]


def gamma_at(progress: float, *, least: float) -> float:
    """Where the attention cuts after a share of the training: 0.98 for every twentieth that is over, as published."""
    return max(least, _DECAY ** int(round(progress * _EPOCHS, 6)))


@torch.no_grad()
def dropout_attention(class_maps: Tensor, gamma: float) -> Tensor:
    """What is left of the activations without their peaks: mean over the classes of `M` where `M <= gamma max M`.

    Args:
        class_maps: Logits; M is their positive part, (B, C, h, w).
        gamma: In (0, 1]; 1 removes nothing.

    Returns:
        The weight of every position, (B, 1, h, w).
    """
    activation = class_maps.relu()
    highest = activation.amax(dim=(2, 3), keepdim=True)
    return (activation * (activation <= gamma * highest)).mean(dim=1, keepdim=True)


def _brought_to(maps: Tensor, like: Tensor) -> Tensor:
    """(B, C, h, w) stretched, all classes of an image alike, to the lowest and highest of other maps of that image."""
    over = (1, 2, 3)
    low, high = maps.amin(over, keepdim=True), maps.amax(over, keepdim=True)
    to_low, to_high = like.amin(over, keepdim=True), like.amax(over, keepdim=True)
    return to_low + (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny) * (to_high - to_low)


Learning = Mlps
