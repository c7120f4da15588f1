"""Every default value, and how a configuration file and `--set key=value` change it.

One closed schema serves all commands: `tile` reads the section `tile`, `train` reads `method`, `model`, `loss`,
`augment` and `train`, `segment` reads `segment`. The description of a field is its documentation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsi_lpd.errors import ConfigError
from wsi_lpd.presets import PRESETS, MethodName


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class TissueConfig(Section):
    """Where there is tissue, decided on a thumbnail."""

    preset: Literal["default", "pale", "dark", "everything"] = Field(
        "default",
        description="`pale` keeps faint tissue (fat, weak stain), `dark` is for thick or blurred slides, "
        "`everything` switches the detection off.",
    )
    mask: Path | None = Field(None, description="Image or QuPath GeoJSON that replaces the detection.")
    mpp: float = Field(8.0, gt=0, description="Micrometres per pixel of the thumbnail it is decided on.")
    min_area_um2: float = Field(20_000.0, ge=0, description="Smaller pieces of tissue are dropped.")
    max_hole_um2: float = Field(5_000.0, ge=0, description="Smaller holes in tissue are filled.")


class TileConfig(Section):
    """How the tissue of a slide becomes patches."""

    mpp: float = Field(0.5, gt=0, description="Micrometres per pixel of a patch (BCSS-WSSS is 0.25).")
    patch_px: int = Field(224, ge=16, description="Side of a patch, in pixels at `mpp`.")
    stride_px: int | None = Field(None, ge=1, description="Step between patches in pixels at `mpp`; none = patch_px.")
    min_tissue: float = Field(0.5, ge=0, le=1, description="Least tissue fraction of a kept patch.")
    allow_upsampling: bool = Field(False, description="Read a slide that is coarser than `mpp` by enlarging it.")
    label_fraction: float = Field(
        0.05, gt=0, le=1, description="With annotations: a class that covers at least this share of a patch is 1."
    )
    annotated_fraction: float = Field(
        0.9,
        gt=0,
        le=1,
        description="With annotations: a class below `label_fraction` is 0 where annotations cover at least this share "
        "of the patch's tissue, and not labelled where they cover less.",
    )
    tissue: TissueConfig = TissueConfig()

    @property
    def step_px(self) -> int:
        """Step between patches, in pixels at `mpp`."""
        return self.patch_px if self.stride_px is None else self.stride_px


class ModelConfig(Section):
    """The network: an encoder, and K prototypes per class seen at several scales."""

    encoder: str = Field("regnety_002", description="timm model name, or mit_b0 ... mit_b5.")
    weights: str = Field(
        "none", description="`none` (random), `timm` (the published ones), a local file, or `hf-hub:owner/name`."
    )
    last_stride: Literal[8, 16, 32] = Field(
        16,
        description="Coarsest stride, where the architecture allows a choice: 16 takes the last stage's down-sampling "
        "away, 8 that of the last two.",
    )
    scales: tuple[int, ...] = Field(
        (1, 2, 3),
        min_length=1,
        description="Feature maps of the encoder that are used, counted from 0 as in timm's feature_info.",
    )
    fusion_weights: tuple[float, ...] = Field(
        (0.1, 0.2, 0.7), description="Weight of each scale in the fused map; they are divided by their sum."
    )
    prototypes: Literal["learnable", "bank"] = Field(
        "learnable", description="`bank`: k-means centres of patch features, fixed before training (PBIP)."
    )
    merge: Literal["softmax", "published"] = Field(
        "softmax",
        description="How the maps of a class's prototypes become one: a soft maximum, or the published mean in "
        "training and weighted maximum in test.",
    )
    scores: Literal["absolute", "relative"] = Field(
        "absolute", description="`relative`: every map stretched to [0, 1] within its window, as published."
    )
    prototypes_per_class: int = Field(5, ge=1, description="K, prototypes per class.")
    prototype_dim: int = Field(256, ge=8, description="Length of a prototype before it is projected to a scale.")
    initial_scale: float = Field(10.0, gt=0, description="First value of the factor on the cosine similarity.")
    background: bool = Field(True, description="Learn a background score beside the classes.")

    @model_validator(mode="after")
    def _one_weight_per_scale(self) -> ModelConfig:
        if len(self.fusion_weights) != len(self.scales):
            raise ValueError(
                f"fusion_weights has {len(self.fusion_weights)} numbers for {len(self.scales)} scales; give one each"
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


class AugmentConfig(Section):
    """Changes to training patches, made on the device; 0 switches a change off."""

    flips: bool = Field(True, description="The eight flips and quarter turns.")
    mosaic: float = Field(
        1.0, ge=0, le=1, description="Share of steps in which the encoder sees patches in fours, as one picture."
    )
    stain: float = Field(0.1, ge=0, description="Spread of haematoxylin, eosin and residual strength (HED jitter).")
    brightness: float = Field(0.1, ge=0, description="Spread of brightness.")
    contrast: float = Field(0.1, ge=0, description="Spread of contrast.")
    blur: float = Field(0.0, ge=0, le=1, description="Share of patches that are blurred slightly.")


class TrainConfig(Section):
    """The optimisation."""

    epochs: int = Field(25, ge=1, description="Passes over the patches.")
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimiser steps, whatever `epochs` says."
    )
    batch_size: int = Field(32, ge=1, description="Patches per forward pass of one process.")
    accumulate: int = Field(1, ge=1, description="Forward passes per optimiser step.")
    learning_rate: float | None = Field(
        None, gt=0, description="Highest learning rate; none = 1.2e-2 from random weights, 1e-3 from others."
    )
    prototype_learning_rate: float = Field(1.2e-2, gt=0, description="Highest learning rate of the prototypes.")
    weight_decay: float = Field(
        0.05, ge=0, description="Decay of matrices; never of norms, biases, scales, prototypes."
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of training in which the learning rate rises.")
    clip_norm: float = Field(5.0, gt=0, description="Largest norm of the gradient.")
    precision: Literal["auto", "float32", "bf16", "fp16"] = Field(
        "auto", description="`auto` is bf16 on a GPU that has it, fp16 on an older GPU, float32 on a CPU."
    )
    ema_decay: float = Field(0.99, ge=0, lt=1, description="Decay of the averaged weights (which are what is kept).")
    val_fraction: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="Without --val: this share of the slides (or patches of a single slide) is held out.",
    )
    channels_last: bool = Field(
        True,
        description="Weights laid out as (H, W, C): convolutions are faster so, on a CPU and in bf16 or fp16 on a GPU.",
    )
    compile: bool = Field(False, description="Compile the network (torch.compile): slow first steps, then faster ones.")
    deterministic: bool = Field(
        False, description="Only operations that give the same bits every time; slower on a GPU, no change on a CPU."
    )
    processes: int = Field(
        1,
        ge=1,
        description="Processes that train together on this machine; on processors 2 may do more than one with threads. "
        "torchrun does the same for several GPUs or machines.",
    )
    workers: int = Field(2, ge=0, description="Processes that read patches; 0 reads in the main one.")
    worker_start: Literal["auto", "fork", "spawn", "forkserver"] = Field(
        "auto", description="How they are started; `auto` is what Python does on this system."
    )
    seed: int = Field(0, ge=0, description="Seed of weights, order, augmentation and split.")
    checkpoint_every: int = Field(100, ge=1, description="Optimiser steps between resumable checkpoints.")
    log_every: int = Field(20, ge=1, description="Optimiser steps between lines of metrics.csv.")
    profile: int = Field(
        0, ge=0, description="Record what this many steps spend their time on into trace.json and profile.txt."
    )
    report: bool = Field(True, description="Draw what the prototypes have learnt into the run folder at the end.")


class SegmentConfig(Section):
    """From a slide and a model to a label map and polygons."""

    overlap: float = Field(0.5, ge=0, lt=1, description="Share of a window that its neighbour covers too.")
    window_px: int | None = Field(
        None, ge=32, description="Side of a window in pixels at the model's mpp; none = what suits the model."
    )
    batch_size: int = Field(32, ge=1, description="Windows per forward pass.")
    views: Literal[1, 2, 4, 8] = Field(
        1, description="Flips and quarter turns of a window that are averaged; the time grows with it."
    )
    gate: Literal["predicted", "none"] = Field(
        "predicted", description="Weigh a class by the probability that it occurs nearby, or do not."
    )
    refine: Literal["none", "pamr", "guided"] = Field(
        "none",
        description="Move outlines to the edges of the picture: pixel-adaptive mask refinement or a guided filter.",
    )
    min_tissue: float = Field(0.0, ge=0, lt=1, description="Windows with no more tissue than this are not looked at.")
    allow_upsampling: bool = Field(False, description="Take a slide that is coarser than the model by enlarging it.")
    grid_offset_px: int = Field(
        0, ge=0, description="Moves the window grid up and left, in model pixels; a check of how much it matters."
    )
    output_stride: int = Field(4, ge=1, description="Label-map pixels are this many model pixels wide.")
    simplify: float = Field(1.0, ge=0, description="Tolerance of the outline in label-map pixels; 0 keeps pixel edges.")
    max_vertices: int | None = Field(
        None, ge=1, description="The tolerance is raised until the overlay has no more positions; none = no limit."
    )
    min_area_um2: float = Field(
        400.0, ge=0, description="Smaller regions take the label that most of their border is with."
    )
    merge: bool = Field(False, description="One MultiPolygon per class instead of one region per connected piece.")
    origin: Literal["auto", "level0", "bounds"] = Field(
        "auto", description="Frame of the overlay; `auto` is the one QuPath shows (bounds where the slide states them)."
    )
    tissue: TissueConfig = TissueConfig()


class Config(Section):
    """The whole configuration of one project."""

    name: str = Field("lpd", pattern=r"^[A-Za-z0-9._-]+$", description="Name of the run.")
    method: MethodName = Field(
        "lpd", description="The learning method; some have defaults of their own (wsi_lpd/presets.py)."
    )
    tile: TileConfig = TileConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    reference: ReferenceConfig = ReferenceConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    segment: SegmentConfig = SegmentConfig()

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate: as configured, else what suits the weights that training starts from.

        Random weights of the small default encoder learn far more in the same time at a high rate (docs/methods.md);
        published ones would be lost at it.
        """
        if self.train.learning_rate is not None:
            return self.train.learning_rate
        return 1.2e-2 if self.model.weights == "none" else 1e-3

    @model_validator(mode="after")
    def _what_the_method_needs(self) -> Config:
        if self.method == "cam" and self.model.prototypes_per_class != 1:
            raise ValueError(
                f"method cam has one prototype per class, model.prototypes_per_class is "
                f"{self.model.prototypes_per_class}; leave it out, or choose method lpd"
            )
        if (self.model.prototypes == "bank") != (self.method == "pbip"):
            raise ValueError(
                f"model.prototypes is {self.model.prototypes} with method {self.method}; a bank is for pbip, and pbip "
                "needs one; leave model.prototypes out"
            )
        return self

    @model_validator(mode="after")
    def _one_loss_weight_per_scale(self) -> Config:
        if len(self.loss.scale_weights) != len(self.model.scales):
            raise ValueError(
                f"loss.scale_weights has {len(self.loss.scale_weights)} numbers for {len(self.model.scales)} "
                "model.scales; give one each"
            )
        return self


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file (or starts from the defaults) and applies `key=value` overrides in order.

    What neither states is the preset of the method (`wsi_lpd.presets`), and then the default.

    Args:
        path: A YAML file with any part of the schema; a missing key keeps its default.
        overrides: Such as `train.epochs=3` or `model.scales=[2, 3]`; the value is read as YAML.

    Raises:
        ConfigError: All problems at once, each with its key, what was found and what was expected.
    """
    tree: dict[str, Any] = {} if path is None else _read_yaml(path)
    for override in overrides:
        _apply(tree, override)
    tree = _merged(_preset(tree.get("method")), tree)
    return validated(tree, source="configuration" if path is None else str(path))


def validated(tree: Mapping[str, Any], *, source: str) -> Config:
    """Checks a parsed configuration; `source` is named in the error."""
    try:
        return Config.model_validate(tree)
    except ValidationError as err:
        lines = [f"  {_describe(problem)}" for problem in err.errors()]
        raise ConfigError("\n".join([f"{source}: {len(lines)} problem(s)", *lines])) from err


def updated(config: Config, changes: Mapping[str, Any]) -> Config:
    """A copy of `config` with dotted keys changed; a value of None leaves its key alone.

    Raises:
        ConfigError: If a value does not fit.
    """
    tree = config.model_dump(mode="json")
    for key, value in changes.items():
        if value is not None:
            _put(tree, key, str(value) if isinstance(value, Path) else value)
    return validated(tree, source="command line")


def dump_config(config: Config) -> str:
    """The whole configuration as YAML, every default written out; `load_config` reads it back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _preset(method: Any) -> dict[str, Any]:
    """The method's preset as a tree; nothing for a method that validation will refuse."""
    tree: dict[str, Any] = {}
    for name, settings in PRESETS.items():
        if name == method:
            for key, value in settings.items():
                _put(tree, key, value)
    return tree


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, section by section."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read ({err.strerror})") from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(err).split())})") from err
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: holds a {type(tree).__name__}, expected keys such as 'train:' or 'model:'")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: expected key=value, such as --set train.epochs=3")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise ConfigError(f"--set {override}: the value is not YAML ({' '.join(str(err).split())})") from err
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # YAML 1.1 reads 1e-4 as text; people write it as a number
            value = float(value)
    _put(tree, key.strip(), value)


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for name in parents:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {key}: {name} is a value, not a section")
    tree[last] = value


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "configuration"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if problem["type"] == "value_error":
        return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{key}: {problem['msg']}, got {problem['input']!r}"
