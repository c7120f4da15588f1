"""What a learning method declares of itself, and where all of them are found.

A method is a package below `wsi_lpd.methods`, and nothing else names it. Its `__init__` holds a `METHOD` and its
settings and imports no torch; its module `loss` holds a class `Learning`, a `wsi_lpd.methods.base.Method`, with its
losses and the network parts that it alone trains.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from wsi_lpd.config.section import Section

if TYPE_CHECKING:
    from wsi_lpd.methods.base import Method

DEFAULT_METHOD: Final = "lpd"

LABELS_ALONE: Final[Mapping[str, Any]] = {
    "loss.exclusion_weight": 0.0,
    "loss.pseudo_weight": 0.0,
    "loss.usage_weight": 0.0,
    "loss.diversity_weight": 0.0,
    "loss.spread": False,
    "loss.revive_below": 0.0,
    "augment.mosaic": 0.0,
}
"""Without what is ours; encoder, colour augmentation, optimiser and length of training stay equal for every method."""

LAST_STAGE: Final[Mapping[str, Any]] = {
    "model.scales": [3],
    "model.fusion_weights": [1.0],
    "loss.scale_weights": [1.0],
    "loss.similarity_weight": 0.0,
    "model.prototypes_per_class": 1,
}
"""A linear classifier of the last stage."""


@dataclass(frozen=True)
class MethodSpec:
    """A learning method as the configuration sees it.

    Attributes:
        name: Its name in `method`.
        summary: What it is, in one line, with its source.
        prototypes: The kind of head it needs, a value of `model.prototypes`.
        preset: What it changes in the defaults, by dotted key; a file and `--set` win over it.
        requires: Settings it cannot do without, by dotted key.
        settings: Sections of its own, by name.
        terms: Loss terms of its own, beside those that several methods share; each is a column of `metrics.csv`.
        learns_from_masks: Whether it learns from pseudo masks rather than labels, with a decoder as its network.
        package: Where its code is; filled in by `methods`.
    """

    name: str
    summary: str
    prototypes: str = "learnable"
    preset: Mapping[str, Any] = field(default_factory=dict)
    requires: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Section] = field(default_factory=dict)
    terms: tuple[str, ...] = ()
    learns_from_masks: bool = False
    package: str = ""

    @property
    def changes(self) -> dict[str, Any]:
        """The whole preset, with what the method requires."""
        return {**self.preset, "model.prototypes": self.prototypes, **self.requires}

    def learning(self) -> type[Method]:
        """The class of its loss; this imports torch."""
        learning: type[Method] = importlib.import_module(f"{self.package}.loss").Learning
        return learning


@functools.cache
def methods() -> Mapping[str, MethodSpec]:
    """Every method by its name, the default first."""
    import wsi_lpd.methods as room

    found = []
    for module in pkgutil.iter_modules(room.__path__):
        if module.ispkg:
            package = f"{room.__name__}.{module.name}"
            spec: MethodSpec = importlib.import_module(package).METHOD
            found.append(MethodSpec(**{**vars(spec), "package": package}))
    return {spec.name: spec for spec in sorted(found, key=lambda spec: (spec.name != DEFAULT_METHOD, spec.name))}
