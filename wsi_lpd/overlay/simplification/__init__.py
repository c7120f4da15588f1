"""Simplification of outlines without gaps or overlaps."""
