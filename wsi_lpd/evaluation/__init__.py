"""Scores of label maps, overlays and models; protocol, gate and refinement are always named.

Import from the modules: `evaluation` (files and maps), `model` (a model on images), `report` (counts, and the scores
from them), `protocols` (what is counted), `metrics`, `boundary`, `bootstrap`, `calibration_error` (pure numbers).
"""
