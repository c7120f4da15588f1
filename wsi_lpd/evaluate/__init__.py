"""Scores of label maps and overlays, with the protocol always named.

Import from the modules: `evaluation` (files and maps), `protocols` (what is counted), `metrics` (pure numbers).
"""
