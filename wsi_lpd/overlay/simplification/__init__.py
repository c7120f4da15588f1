"""Fewer vertices without gaps or overlaps."""
