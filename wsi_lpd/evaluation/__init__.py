"""Scores of label maps, overlays and models, with protocol, gate and refinement always named.

Import from the modules: `evaluation` (files and maps), `model` (a model on images), `report` (counts, and scores made
of them), `protocols` (what is counted), `metrics`, `boundary`, `bootstrap`, `calibration_error` (pure numbers).
"""
