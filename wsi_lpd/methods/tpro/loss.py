"""TPRO (MICCAI 2023): what is written about the classes, as fixed vectors, is what positions are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from wsi_lpd.config import Config
from wsi_lpd.errors import ConfigError
from wsi_lpd.methods.base import Losses, Method, Step
from wsi_lpd.methods.terms import image_terms
from wsi_lpd.methods.tpro.vectors import read_vectors
from wsi_lpd.models.network import LpdNetwork


class Tpro(Method):
    """Classification by similarity to class vectors; the coarsest map attends to knowledge vectors."""

    @classmethod
    def from_config(cls, config: Config, class_names: Sequence[str], mask_weights: tuple[float, ...]) -> Self:
        """See `Method`."""
        return cls(config, class_names)

    def __init__(self, config: Config, class_names: Sequence[str]) -> None:
        self.config = config
        self._class_names = tuple(class_names)

    def prepare(self, network: LpdNetwork, patches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Puts the vectors of the file into the network.

        Raises:
            ConfigError: If the file cannot be read, lacks a class, or has vectors of another length than configured.
        """
        path = Path(str(self.config.model.vectors))
        found = read_vectors(path, self._class_names)
        _fill(network.prototypes.vectors, found.classes, path, "class", "model.prototype_dim")
        if network.knowledge is not None:
            _fill(network.knowledge.vectors, found.knowledge, path, "knowledge", "model.knowledge_dim")

    def losses(self, step: Step) -> Losses:
        """Classification and background."""
        return Losses(image_terms(step, step.student(step.images), self.config.loss))


def _fill(vectors: Tensor, found: Tensor | None, path: Path, kind: str, key: str) -> None:
    """Of the length of prototypes as they begin; in a file any length will do."""
    dim = vectors.shape[-1]
    if found is None:
        raise ConfigError(f"{path}: holds no {kind} vectors, {key} is {dim}; add them, or set {key}=0")
    if found.shape[1] != dim:
        raise ConfigError(
            f"{path}: holds {kind} vectors of length {found.shape[1]}, {key} is {dim}; set {key}={found.shape[1]}"
        )
    unit = torch.nn.functional.normalize(found, dim=1) * dim**0.5
    with torch.no_grad():
        vectors.copy_(unit.reshape(vectors.shape))


Learning = Tpro
