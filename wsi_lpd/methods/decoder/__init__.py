"""The second stage: a decoder that learns from pseudo masks."""

from __future__ import annotations

from wsi_lpd.config.method import MethodSpec

__all__ = ["METHOD"]

METHOD = MethodSpec(
    "decoder",
    "second stage: a decoder that learns from pseudo masks",
    prototypes="none",
    terms=("masks",),
    learns_from_masks=True,
)
