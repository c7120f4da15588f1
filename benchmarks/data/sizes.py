"""How much work the benchmarks do: every size in one place."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class BenchSize:
    """Cohorts and length of training.

    Attributes:
        n_slides: Synthetic slides to learn from, the last of them for calibration.
        slide_px: Their side at level 0 (0.25 um).
        n_held_out: Synthetic slides to score.
        held_out_px: Their side at level 0.
        scored_px: Side of the scored squares they are cut into, in pixels at `mpp`; it divides their side.
        mpp: Micrometres per pixel of patches and of the scored maps; 0.25 times a power of two.
        patch_px: Side of a synthetic patch.
        steps: Optimiser steps on the synthetic cohort, equal for every method.
        wsss4luad_steps: The same on WSSS4LUAD.
        settings: Configuration of every run.
        reference_dim: `model.prototype_dim` of lpd-reference: channels of the encoder's last map that is used.
    """

    n_slides: int
    slide_px: int
    n_held_out: int
    held_out_px: int
    scored_px: int
    mpp: float
    patch_px: int
    steps: int
    wsss4luad_steps: int
    settings: tuple[str, ...]
    reference_dim: int

    def cohort_key(self) -> str:
        """Differs for synthetic cohorts of different sizes."""
        return _digest({k: v for k, v in asdict(self).items() if k not in _OF_TRAINING})


_OF_TRAINING = ("steps", "wsss4luad_steps", "settings", "reference_dim")

SIZES: dict[str, BenchSize] = {
    "cpu": BenchSize(
        n_slides=6,
        slide_px=6144,
        n_held_out=6,
        held_out_px=3072,
        scored_px=192,
        mpp=1.0,
        patch_px=64,
        steps=600,
        wsss4luad_steps=300,
        settings=("train.workers=0",),
        reference_dim=152,
    ),
    "gpu": BenchSize(
        n_slides=12,
        slide_px=16384,
        n_held_out=12,
        held_out_px=6144,
        scored_px=768,
        mpp=0.5,
        patch_px=224,
        steps=4000,
        wsss4luad_steps=2000,
        settings=("train.workers=4", "model.encoder=mit_b1"),
        reference_dim=512,
    ),
    "tiny": BenchSize(
        n_slides=2,
        slide_px=3072,
        n_held_out=2,
        held_out_px=1536,
        scored_px=192,
        mpp=1.0,
        patch_px=64,
        steps=4,
        wsss4luad_steps=4,
        settings=("train.workers=0", "train.batch_size=8"),
        reference_dim=152,
    ),
}
"""`cpu` takes two to three hours on two idle cores for the table of methods, and one more for the ablation; `tiny`
only shows that everything works."""


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
