"""The sections `masks` and `decoder`: the second stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsi_lpd.config.section import Section


class MasksConfig(Section):
    """From a model and the labels of training patches to pseudo masks (`wsi-lpd pseudo-mask`)."""

    context: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "Margin around a patch that the network sees too, as a share of the patch's side; mirrored where "
            "the store does not hold the surroundings."
        ),
    )
    views: Literal[1, 2, 4, 8] = Field(4, description="Flips and turns of a patch that are averaged.")
    refine: Literal["none", "pamr", "guided"] = Field(
        "pamr", description="Move outlines to the edges of the picture, as segment.refine does."
    )
    confidence: float = Field(0.5, ge=0, lt=1, description="Pixels below this probability are ignored.")
    margin: float = Field(0.1, ge=0, lt=1, description="Pixels with a smaller lead over the runner-up are ignored.")
    batch_size: int | None = Field(None, ge=1, description="Patches per forward pass; null = what suits the device.")


class DecoderConfig(Section):
    """The decoder of the second stage: its network, and how it learns from pseudo masks."""

    head: Literal["segformer", "mask2former"] = Field(
        "segformer",
        description=(
            "Decoder of the features: `segformer`, an all-MLP head, or `mask2former` (pip install "
            "'wsi-lpd[mask2former]')."
        ),
    )
    width: int = Field(256, ge=8, description="Channels of the decoder.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of its channels dropped in a training step.")
    learning_rate: float | None = Field(
        None,
        gt=0,
        description=(
            "Peak learning rate of the decoder; null = 0.012, or 0.0003 for mask2former. The encoder's is "
            "train.learning_rate."
        ),
    )
    loss: Literal["cross-entropy", "generalized", "symmetric"] = Field(
        "generalized",
        description=(
            "Loss of a pixel: `generalized` and `symmetric` forgive wrong masks, plain `cross-entropy` does not."
        ),
    )
    exponent: float = Field(
        0.7,
        gt=0,
        le=1,
        description=(
            "Exponent q of the generalised cross-entropy (1 - p^q) / q: near 0 it is plain cross-entropy, at 1 the "
            "mean absolute error."
        ),
    )
    weighted: bool = Field(True, description="Weight each pixel by its lead over the runner-up in the pseudo mask.")
    single_label: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "Share of the patches of one class that are replaced by mosaics of such patches, whose masks are exact."
        ),
    )
    mosaic: Literal["quarters", "curved"] = Field(
        "quarters",
        description="Pieces of those mosaics: four `quarters`, or up to four patches with `curved` borders.",
    )

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate of the head: as configured, else what suits it."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1.2e-2 if self.head == "segformer" else 3e-4
