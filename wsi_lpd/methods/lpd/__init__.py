"""Learnable prototypes with diversity: our method, and the default."""

from __future__ import annotations

from wsi_lpd.config.method import MethodSpec

__all__ = ["METHOD"]

METHOD = MethodSpec("lpd", "learnable class prototypes with a diversity regulariser, in one stage (arXiv 2512.05922)")
