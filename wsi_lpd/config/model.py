"""The sections `model` and `loss`: what is learnt."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from wsi_lpd.config.section import Section

HUB_PREFIXES: Final = ("hf-hub:", "hf_hub:")
N_SCALES: Final = 3
"""Scales of every encoder where `model.scales` names none."""


def is_timm_name(encoder: str) -> bool:
    """Whether `model.encoder` names one of timm's models, not a repository on the hub or a folder."""
    return not encoder.startswith((*HUB_PREFIXES, ".", "~")) and "/" not in encoder and "\\" not in encoder


class ModelConfig(Section):
    """The network: an encoder, and K prototypes per class seen at several scales."""

    encoder: str = Field(
        "regnety_002",
        description=(
            "Backbone: a timm model name, mit_b0 to mit_b5, `hf-hub:owner/name`, or a folder laid out as on "
            "the hub; `wsi-lpd encoders` lists those for pathology."
        ),
    )
    weights: str = Field(
        "none",
        description=(
            "Where the encoder starts: `none` (random; a hub name or folder brings its own), `timm` (the "
            "published weights), a local file or folder, `hf-hub:owner/name`, or a run folder (its encoder)."
        ),
    )
    frozen: bool = Field(False, description="Keep the encoder's weights fixed and train only what follows it.")
    adapter: bool | None = Field(
        None,
        description=(
            "Small trainable blocks behind the encoder, which also give a plain transformer a map at half its "
            "stride; null = only for a frozen encoder or a plain transformer."
        ),
    )
    last_stride: Literal[8, 16, 32] = Field(
        16,
        description=(
            "Coarsest stride of the encoder, where it allows a choice, in pixels: 16 removes the down-sampling "
            "of the last stage, 8 that of the last two."
        ),
    )
    scales: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description=(
            "Feature maps of the encoder to use, counted from 0 as in timm's feature_info; null = 1, 2 and 3, "
            "or, for a plain transformer, the blocks at half, three quarters and all of its depth."
        ),
    )
    fusion_weights: tuple[float, ...] = Field(
        (0.1, 0.2, 0.7), description="Weight of each scale in the fused class map; divided by their sum."
    )
    prototypes: Literal["learnable", "bank", "file", "centres", "none"] = Field(
        "learnable",
        description=(
            "Where prototypes come from; the method decides, leave it out. `learnable`; `bank`, k-means centres of "
            "patch features fixed before training; `file`, fixed vectors from model.vectors; `centres`, centres of "
            "the encoder's own features beside a linear classifier; `none`, a linear classifier at every position."
        ),
    )
    vectors: str | None = Field(
        None, description="A .npz file with class and knowledge vectors, for `prototypes: file` (docs/formats.md)."
    )
    knowledge_dim: int = Field(
        0, ge=0, description="Length of the knowledge vectors that the coarsest map attends to; 0 = no such vectors."
    )
    merge: Literal["softmax", "published", "maximum"] = Field(
        "softmax",
        description=(
            "How the maps of a class's prototypes become one: a soft maximum (`softmax`); `published`, the mean in "
            "training and a weighted maximum in test; `maximum`, the highest, but at least 0."
        ),
    )
    scores: Literal["absolute", "relative"] = Field(
        "absolute",
        description=(
            "`relative` stretches every map to [0, 1] within its window, as published; `absolute` leaves "
            "scores comparable between windows."
        ),
    )
    prototypes_per_class: int = Field(5, ge=1, description="Prototypes per class (K).")
    prototype_dim: int = Field(256, ge=8, description="Length of a prototype before it is projected to a scale.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of channels a linear classifier does not see in a training step."
    )
    initial_scale: float = Field(10.0, gt=0, description="Initial value of the learnt factor on the cosine similarity.")
    background: bool = Field(True, description="Learn a background score beside the classes.")

    @property
    def n_scales(self) -> int:
        """How many feature maps are used."""
        return N_SCALES if self.scales is None else len(self.scales)

    @model_validator(mode="before")
    @classmethod
    def _weights_of_a_named_source(cls, tree: Any) -> Any:
        """A repository or folder brings its weights along."""
        if isinstance(tree, dict) and isinstance(tree.get("encoder"), str) and not is_timm_name(tree["encoder"]):
            return tree | {"weights": tree["encoder"] if tree.get("weights", "none") == "none" else tree["weights"]}
        return tree

    @model_validator(mode="after")
    def _one_weight_per_scale(self) -> ModelConfig:
        if len(self.fusion_weights) != self.n_scales:
            raise ValueError(
                f"fusion_weights has {len(self.fusion_weights)} numbers for {self.n_scales} scales; give one each"
            )
        return self

    @model_validator(mode="after")
    def _what_the_prototypes_need(self) -> ModelConfig:
        if self.prototypes == "file" and self.vectors is None:
            raise ValueError(
                "there is no file of text vectors; set model.vectors to a .npz file with the vectors of your classes "
                "(docs/formats.md says what is in it and how to make one)"
            )
        if self.prototypes == "centres" and (self.scores == "relative" or self.n_scales != 1):
            raise ValueError(
                f"prototypes: centres needs one scale and absolute scores, got {self.n_scales} scales and "
                f"{self.scores} scores"
            )
        return self


class LossConfig(Section):
    """Weights and shapes of the loss terms."""

    scale_weights: tuple[float, ...] = Field(
        (0.5, 1.0, 1.0), description="Weight of the classification loss at each scale."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Smoothing s of the labels: 0 and 1 become s and 1 - s."
    )
    balance_classes: bool = Field(True, description="Give the positives of rare classes more weight (up to tenfold).")
    exclusion_weight: float = Field(
        0.5, ge=0, description="Weight of the term that keeps absent classes out of every position."
    )
    background_weight: float = Field(1.0, ge=0, description="Weight of the term that tells glass from tissue.")
    diversity_weight: float = Field(
        0.2, ge=0, description="Weight of the diversity term after its ramp; 0 switches it off."
    )
    diversity_form: Literal["jeffreys", "correlation"] = Field(
        "jeffreys",
        description=(
            "What makes two prototypes alike: the overlap of their activations (`jeffreys`) or their `correlation`."
        ),
    )
    diversity_temperature: float = Field(
        0.1, gt=0, description="Temperature of the diversity term's softmax over positions."
    )
    usage_weight: float = Field(0.1, ge=0, description="Weight of the term that keeps every prototype in use.")
    similarity_weight: float = Field(0.1, ge=0, description="Weight of the similarity refiner; 0 switches it off.")
    refiner: Literal["own", "frozen"] = Field(
        "own",
        description=(
            "Features the similarity refiner pools: the encoder's current ones (`own`), or those of the "
            "encoder as training started (`frozen`)."
        ),
    )
    similarity_temperature: float = Field(0.1, gt=0, description="Temperature of the similarity refiner's contrast.")
    pseudo_confidence: float = Field(0.5, gt=0, lt=1, description="Lowest probability of a pixel in the pseudo mask.")
    pseudo_margin: float = Field(
        0.1, ge=0, lt=1, description="Smallest lead over the runner-up of a pixel in the pseudo mask."
    )
    pseudo_weight: float = Field(1.0, ge=0, description="Weight of learning from the pseudo mask.")
    spread: bool = Field(True, description="Move prototypes to k-means centres of their class after the warm-up.")
    revive_below: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="Once an epoch, move prototypes that win less than this share of their class; 0 = never.",
    )
    start: float = Field(0.2, ge=0, le=1, description="Share of training after which the terms based on masks begin.")
    ramp: float = Field(
        0.2, ge=0, le=1, description="Share of training over which the terms based on masks grow to full weight."
    )
