"""The rows of both tables: each is one list of `key=value` lines, on top of another row's where it names one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.data.text_vectors import VECTORS_FILE
from wsi_lpd.config import methods
from wsi_lpd.evaluation.protocols import GateName
from wsi_lpd.prediction.refine import RefinementName

Cohort = Literal["synthetic", "wsss4luad"]


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        title: What it is, in a few words.
        adds: Its own settings.
        on: The row whose settings come first.
        reads: It trains nothing and reads the runs of this row; of several, of the best under the oracle gate.
        refinement: How the maps of `reads` are refined.
        gate: The one gate it stands for; None shows all.
        extra: Runs only when it is asked for by name.
        masks_of: The row whose run of the same cohort and seed makes the pseudo masks, and lends its encoder.
    """

    title: str
    adds: tuple[str, ...] = ()
    on: str | None = None
    reads: tuple[str, ...] = ()
    refinement: RefinementName = "none"
    gate: GateName | None = None
    extra: bool = False
    masks_of: str | None = None


FIRST_STAGES: Mapping[str, Row] = {
    spec.name: Row(
        spec.summary,
        (f"method={spec.name}", *([f"model.vectors={VECTORS_FILE}"] if spec.prototypes == "file" else [])),
    )
    for spec in reversed(list(methods().values()))
    if not spec.learns_from_masks
}
"""Every method that learns from labels, the default last; vectors from text are a stand-in."""


def second_stage(name: str) -> Row:
    """A decoder on the pseudo masks of a first stage; it is scored without a gate."""
    return Row(f"decoder on the masks of {name}", ("method=decoder",), gate="none", masks_of=name)


METHODS: Mapping[str, Row] = {
    **FIRST_STAGES,
    **{f"{name}+decoder": second_stage(name) for name in FIRST_STAGES},
}

_RELATIVE = "model.scores=relative"

ABLATION: Mapping[str, Row] = {
    "R0": Row("fixed bank, no refiner", ("method=pbip", "loss.similarity_weight=0", _RELATIVE)),
    "R1": Row(
        "learnable, K = 1",
        (
            "method=lpd-reference",
            "loss.similarity_weight=0",
            "loss.diversity_weight=0",
            "model.prototypes_per_class=1",
            "model.background=true",
            "loss.background_weight=1",
            _RELATIVE,
        ),
    ),
    "R2": Row("K = 3, no diversity", ("model.prototypes_per_class=3",), on="R1"),
    "R2b": Row("K = 10, no diversity", ("model.prototypes_per_class=10",), on="R1"),
    "R3": Row("published diversity", ("loss.diversity_weight=0.5",), on="R2"),
    "R4": Row(
        "diversity repaired",
        (
            "reference.double_softmax=false",
            "reference.no_temperature=false",
            "reference.class_offset=false",
            "reference.raw_prototypes=false",
            "reference.raw_background_score=false",
            "reference.ungated_mask=false",
        ),
        on="R3",
    ),
    "R5": Row("soft maximum per position", ("model.merge=softmax",), on="R4"),
    "R6a": Row(
        "published refiner on crops, mended",
        (
            "loss.similarity_weight=0.1",
            "reference.image_threshold=false",
            "reference.raw_crops=false",
            "reference.sibling_negatives=false",
        ),
        on="R5",
    ),
    "R6b": Row(
        "pooled refiner instead (method lpd, K = 3, repaired diversity, nothing else of ours)",
        (
            "method=lpd",
            "model.prototypes_per_class=3",
            "loss.similarity_weight=0.1",
            "loss.exclusion_weight=0",
            "loss.pseudo_weight=0",
            "loss.usage_weight=0",
            "loss.spread=false",
            "loss.revive_below=0",
            "augment.mosaic=0",
            _RELATIVE,
        ),
    ),
    "R7": Row("refiner on frozen features", ("loss.refiner=frozen",), on="R6b"),
    "R8": Row(
        "predicted gate for the best of R6 and R7 (no new training)", reads=("R6a", "R6b", "R7"), gate="predicted"
    ),
    "R9": Row("absolute scores", ("model.scores=absolute",), on="R6b"),
    "R10": Row("R9 with PAMR at evaluation (no new training)", reads=("R9",), refinement="pamr"),
    "plus-exclusion": Row("ours: + exclusion", ("loss.exclusion_weight=0.5",), on="R9"),
    "plus-mosaic": Row("ours: + mosaic", ("augment.mosaic=1",), on="plus-exclusion"),
    "plus-pseudo": Row("ours: + pseudo masks", ("loss.pseudo_weight=1",), on="plus-mosaic"),
    "lpd": METHODS["lpd"],
    "no-diversity": Row("default without diversity", ("loss.diversity_weight=0",), on="lpd"),
    "no-usage": Row("default without usage guard", ("loss.usage_weight=0",), on="lpd", extra=True),
    "no-spread": Row("default without spreading", ("loss.spread=false",), on="lpd", extra=True),
    "K1": Row("default with K = 1", ("model.prototypes_per_class=1",), on="lpd", extra=True),
    "K10": Row("default with K = 10", ("model.prototypes_per_class=10",), on="lpd", extra=True),
    "correlation": Row("default, correlation form", ("loss.diversity_form=correlation",), on="lpd", extra=True),
    "no-pseudo": Row("default without pseudo masks", ("loss.pseudo_weight=0",), on="lpd", extra=True),
    "no-exclusion": Row("default without exclusion", ("loss.exclusion_weight=0",), on="lpd", extra=True),
    "no-mosaic": Row("default without mosaics", ("augment.mosaic=0",), on="lpd", extra=True),
}
"""R0 to R10 repair the published recipe step by step. R9 builds on R6b, whose refiner is the default's; from there
every row adds something of ours until the default is reached. Below it, each part of the default is switched off alone;
most of these rows run only when named, which keeps the ablation to about an hour on two cores."""

DIFFERENCES: tuple[tuple[str, str, str], ...] = (
    ("R4", "R2", "the repaired diversity term against none"),
    ("R10", "R9", "PAMR against none"),
    *((name, row.on, row.title) for name, row in ABLATION.items() if row.on is not None and row.on != "lpd"),
    *(("lpd", name, row.title) for name, row in ABLATION.items() if row.on == "lpd"),
)
"""What is compared pair by pair, the first minus the second: every row with the one it stands on, and the default with
each change of it. The third is what the rows differ in."""

ROWS: Mapping[str, Row] = {**METHODS, **ABLATION}


def settings_of(name: str, *, reference_dim: int) -> tuple[str, ...]:
    """All lines of a row in their order; lpd-reference gets prototypes as long as the encoder's last map."""
    row = ROWS[name]
    below = () if row.on is None else settings_of(row.on, reference_dim=reference_dim)
    own_dim = (f"model.prototype_dim={reference_dim}",) if "method=lpd-reference" in row.adds else ()
    return (*below, *row.adds, *own_dim)


def refinements_of(name: str) -> tuple[RefinementName, ...]:
    """Every refinement that some row reads of this one's runs, `none` first."""
    others = {row.refinement for row in ROWS.values() if name in row.reads} - {"none"}
    return ("none", *sorted(others))
