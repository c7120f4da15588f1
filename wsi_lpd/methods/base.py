"""What the trainer and a method say to each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from wsi_lpd.config import Config, ModelConfig, methods
from wsi_lpd.models.network import LpdNetwork, NetworkOutput

TERMS = (
    "classification", "exclusion", "background", "pseudo", "diversity", "usage", "similarity",
    *(term for spec in methods().values() for term in spec.terms),
)  # fmt: skip
"""Every term that a method may name: those that several share, and what each declares; columns of `metrics.csv`."""


@dataclass(frozen=True)
class Losses:
    """Terms as they enter the sum, weights included; all scalars, named as in `TERMS`."""

    terms: Mapping[str, Tensor]

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return torch.stack(list(self.terms.values())).sum()

    def values(self) -> dict[str, float]:
        """Every term and the sum as numbers (waits for the device)."""
        names = [*self.terms, "loss"]
        numbers = torch.stack([*self.terms.values(), self.total]).detach().tolist()
        return dict(zip(names, numbers, strict=True))


@dataclass(frozen=True)
class Step:
    """One batch, and the networks that may look at it.

    Attributes:
        images: RGB in [0, 1] as augmented, (B, 3, H, W).
        clean: The same before any change of colour.
        labels: 1, 0 or -1 (not labelled), (B, C).
        positive_weights: Weight of a positive per class, (C,).
        progress: Share of the training that is done, in [0, 1).
        network: The network in training, for its parameters; it is run by `student`. A decoder's has no prototypes.
        student: Runs it on images (B, 3, H, W).
        teacher: Runs the averaged (EMA) weights, without a graph.
        patches: Gives all training patches anew, images (B, 3, H, W) in [0, 1] without augmentation and labels (B, C),
            for `Method.rearrange`.
        masks: Pseudo masks, label-map values or 255, uint8 (B, M, H, W); None but for a decoder.
        confidence: How sure they are, the lead of the winner in probability, (B, H, W) in [0, 1].
    """

    images: Tensor
    clean: Tensor
    labels: Tensor
    positive_weights: Tensor
    progress: float
    network: LpdNetwork
    student: Callable[[Tensor], NetworkOutput]
    teacher: Callable[[Tensor], NetworkOutput]
    patches: Callable[[], Iterable[tuple[Tensor, Tensor]]] = tuple
    masks: Tensor | None = None
    confidence: Tensor | None = None


@dataclass(frozen=True)
class Place:
    """Where in the training a step is: its number from 0, of how many, and steps per epoch."""

    index: int
    total: int
    per_epoch: int


class Method(ABC):
    """A way to learn from image-level labels."""

    mask_weights: tuple[float, ...] = (1.0,)
    """Weight of each pseudo mask in the second stage's loss, one for each of `mask_layers`."""
    decays_everything: bool = False
    """Whether weight decay acts on norms, biases, scales and prototypes too."""
    oracle_gate: bool = False
    """Whether validation masks are gated by labels read off the true masks: a ceiling, not a result."""

    @classmethod
    def from_config(cls, config: Config, class_names: Sequence[str], mask_weights: tuple[float, ...]) -> Self:
        """The method with its settings; see `build_method`."""
        return cls(config)  # type: ignore[call-arg]

    @classmethod
    def parts(cls, config: ModelConfig, *, n_classes: int, channels: Sequence[int]) -> Mapping[str, nn.Module]:
        """Modules that this method alone trains, by the name they have in the network; most methods have none.

        Args:
            config: The network's settings.
            n_classes: C.
            channels: Widths of the encoder's maps, from fine to coarse.
        """
        return {}

    def prepare(self, network: LpdNetwork, patches: Iterable[tuple[Tensor, Tensor]]) -> None:  # noqa: B027
        """Called once before the first step (not after a resume).

        Args:
            network: Fresh, on its device.
            patches: Images RGB in [0, 1], (B, 3, H, W), and labels (B, C), on the device, in the order of the table.
        """

    def rearranges(self, place: Place) -> bool:
        """Whether `rearrange` is wanted before the losses of a step; a function of the place alone."""
        return False

    def rearrange(self, step: Step, place: Place) -> bool:
        """Moves prototypes of `step.network` by hand, if `rearranges` wants it; returns whether any was moved.

        With several processes every one gets the images and labels of all.
        """
        return False

    @abstractmethod
    def losses(self, step: Step) -> Losses:
        """All terms for one batch."""

    def mask_layers(self, network: LpdNetwork, images: Tensor, labels: Tensor) -> list[Tensor]:
        """What the second stage's pseudo masks are made of, here what the network itself would decide on.

        Args:
            network: Trained, in eval mode.
            images: RGB in [0, 1], (B, 3, H, W).
            labels: 1, 0 or -1 (not labelled), (B, C). Absent classes are not closed: that is left to the caller.

        Returns:
            Logits of each layer, channel i for label-map value i, (B, C + 1, h, w); sizes may differ.
        """
        output = network(images)
        return [network.map_logits(output, presence_of(labels, output.fused_logits))]


def presence_of(labels: Tensor, logits: Tensor) -> Tensor:
    """Probability that a class occurs, (B, C): what the label says, and where it is silent the network's own."""
    return torch.where(labels < 0, logits.float().sigmoid(), labels.float())
