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
        description="Margin, as a share of a patch's side, in which the network sees what lies around a patch in its "
        "store; where that is not known, the patch mirrored.",
    )
    views: Literal[1, 2, 4, 8] = Field(4, description="Flips and turns of a patch that are averaged.")
    refine: Literal["none", "pamr", "guided"] = Field(
        "pamr", description="Move outlines to the edges of the picture, as in `segment.refine`."
    )
    confidence: float = Field(0.5, ge=0, lt=1, description="Least probability of a pixel that is not ignored.")
    margin: float = Field(0.1, ge=0, lt=1, description="Least lead over the runner-up of a pixel that is not ignored.")
    batch_size: int | None = Field(None, ge=1, description="Patches per forward pass; none = what suits the device.")


class DecoderConfig(Section):
    """Method decoder alone: its network, and how it learns from pseudo masks."""

    head: Literal["segformer", "mask2former"] = Field(
        "segformer",
        description="What decodes the features: SegFormer's all-MLP head, or that of Mask2Former "
        "(pip install 'wsi-lpd[mask2former]').",
    )
    width: int = Field(256, ge=8, description="Channels of the decoder.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of its channels left out in training.")
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Highest learning rate of the head; none = 1.2e-2, and 3e-4 of mask2former. That of the encoder is "
        "train.learning_rate.",
    )
    loss: Literal["cross-entropy", "generalized", "symmetric"] = Field(
        "generalized", description="What a pixel costs; the last two give way where a mask is wrong."
    )
    exponent: float = Field(
        0.7, gt=0, le=1, description="q of the generalized cross-entropy (1 - p^q) / q: near 0 plain, 1 mean absolute."
    )
    weighted: bool = Field(True, description="Weigh a pixel by its lead over the runner-up in the pseudo mask.")
    single_label: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the patches with one class that are replaced by mosaics of such patches, whose masks are "
        "exact.",
    )
    mosaic: Literal["quarters", "curved"] = Field(
        "quarters", description="Their pieces: four quarters, or up to four patches with curved outlines between them."
    )

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate of the head: as configured, else what suits it."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1.2e-2 if self.head == "segformer" else 3e-4
