"""Encoders by name: building them with timm, finding and loading their weights."""
