"""Whole-slide tissue maps from image-level patch labels (learnable prototypes with diversity, LPD)."""

__version__ = "0.1.0"
