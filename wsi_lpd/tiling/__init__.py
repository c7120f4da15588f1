"""Tiling: the choice of patches on a slide, how they are read, and the `tile` job."""
