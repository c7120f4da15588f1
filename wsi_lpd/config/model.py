"""The sections `model`, `loss` and `reference`: what is learnt."""

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
        description="timm model name, mit_b0 ... mit_b5, `hf-hub:owner/name`, or a folder as the hub has it; "
        "`wsi-lpd encoders` lists those of pathology.",
    )
    weights: str = Field(
        "none",
        description="`none` (random; of a hub name or folder its own), `timm` (the published ones), a local file or "
        "folder, `hf-hub:owner/name`, or a run folder (its encoder).",
    )
    frozen: bool = Field(
        False, description="Keep the encoder's weights as they are, and train only what comes after it."
    )
    adapter: bool | None = Field(
        None,
        description="Small trainable blocks behind the encoder, which give a plain transformer a map of half its "
        "stride too; none = where the encoder is frozen or a plain transformer.",
    )
    last_stride: Literal[8, 16, 32] = Field(
        16,
        description="Coarsest stride, where the architecture allows a choice: 16 takes the last stage's down-sampling "
        "away, 8 that of the last two.",
    )
    scales: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="Feature maps of the encoder that are used, counted from 0 as in timm's feature_info; none = 1, 2 "
        "and 3, or of a plain transformer the blocks at half, three quarters and all of its depth.",
    )
    fusion_weights: tuple[float, ...] = Field(
        (0.1, 0.2, 0.7), description="Weight of each scale in the fused map; they are divided by their sum."
    )
    prototypes: Literal["learnable", "bank", "file", "centres", "none"] = Field(
        "learnable",
        description="`bank`: k-means centres of patch features, fixed before training (PBIP). `file`: fixed vectors "
        "from model.vectors (TPRO). `centres`: centres of the encoder's own features beside a linear classifier (UAM). "
        "`none`: a linear classifier of every position instead (PSCL, MLPS).",
    )
    vectors: str | None = Field(
        None, description="A .npz file of class and knowledge vectors for `prototypes: file` (docs/formats.md)."
    )
    knowledge_dim: int = Field(
        0, ge=0, description="Length of the knowledge vectors that the coarsest map attends to (TPRO); 0 = none."
    )
    merge: Literal["softmax", "published", "maximum"] = Field(
        "softmax",
        description="How the maps of a class's prototypes become one: a soft maximum, the published mean in "
        "training and weighted maximum in test, or the highest but no less than 0 (UAM).",
    )
    scores: Literal["absolute", "relative"] = Field(
        "absolute", description="`relative`: every map stretched to [0, 1] within its window, as published."
    )
    prototypes_per_class: int = Field(5, ge=1, description="K, prototypes per class.")
    prototype_dim: int = Field(256, ge=8, description="Length of a prototype before it is projected to a scale.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of channels that a linear classifier does not see in a training step."
    )
    initial_scale: float = Field(10.0, gt=0, description="First value of the factor on the cosine similarity.")
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
        (0.5, 1.0, 1.0), description="Weight of the classification loss per scale."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Labels become s and 1 - s.")
    balance_classes: bool = Field(True, description="Weigh the positives of rare classes up (at most tenfold).")
    exclusion_weight: float = Field(0.5, ge=0, description="Weight of keeping absent classes out of every position.")
    background_weight: float = Field(1.0, ge=0, description="Weight of telling glass from tissue.")
    diversity_weight: float = Field(0.2, ge=0, description="Weight of the diversity term after its ramp; 0 = off.")
    diversity_form: Literal["jeffreys", "correlation"] = Field(
        "jeffreys", description="What makes two prototypes alike: overlap of their activations, or correlation."
    )
    diversity_temperature: float = Field(0.1, gt=0, description="Temperature of its one softmax over positions.")
    usage_weight: float = Field(0.1, ge=0, description="Weight of the guard against unused prototypes.")
    similarity_weight: float = Field(0.1, ge=0, description="Weight of the similarity refiner; 0 = off.")
    refiner: Literal["own", "frozen"] = Field(
        "own",
        description="Features the refiner pools: those in training, or those of the encoder as training found it "
        "(model.weights).",
    )
    similarity_temperature: float = Field(0.1, gt=0, description="Temperature of its contrast.")
    pseudo_confidence: float = Field(0.5, gt=0, lt=1, description="Least probability of a pseudo-mask pixel.")
    pseudo_margin: float = Field(0.1, ge=0, lt=1, description="Least lead over the runner-up of a pseudo-mask pixel.")
    pseudo_weight: float = Field(1.0, ge=0, description="Weight of learning from the pseudo mask.")
    spread: bool = Field(True, description="After the warm-up, move prototypes to k-means centres of their class.")
    revive_below: float = Field(
        0.01, ge=0, lt=1, description="Prototypes that take less of their class are moved, once an epoch; 0 = never."
    )
    start: float = Field(0.2, ge=0, le=1, description="Share of training after which the mask-based terms begin.")
    ramp: float = Field(0.2, ge=0, le=1, description="Share of training over which they grow to full weight.")


class ReferenceConfig(Section):
    """Defects of the published LPD code, for method lpd-reference alone; two more are model.merge and model.scores."""

    double_softmax: bool = Field(True, description="L3: diversity takes a softmax of a softmax over positions.")
    no_temperature: bool = Field(True, description="L3: its softmax has temperature 1 on cosines.")
    class_offset: bool = Field(True, description="L2: its regions are one class off.")
    raw_prototypes: bool = Field(
        True, description="L5, L6: diversity and refiner compare prototypes in a space that nothing aligns them to."
    )
    raw_background_score: bool = Field(
        True, description="L7: a background of 0.2 is compared with raw logits, not with maps in [0, 1]."
    )
    ungated_mask: bool = Field(True, description="L8: regions may be of classes that the label excludes.")
    image_threshold: bool = Field(True, description="L9: the refiner has one threshold for all maps of an image.")
    raw_crops: bool = Field(True, description="L11: the refiner's crops are multiplied by raw logits.")
    sibling_negatives: bool = Field(True, description="L12: prototypes of the same class are negatives.")
    decay_everything: bool = Field(True, description="Weight decay on norms, biases, scales and prototypes as well.")
    oracle_gate: bool = Field(True, description="L16: validation masks are gated by labels read off the masks.")
