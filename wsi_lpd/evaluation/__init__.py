"""Scores of label maps, overlays and models; protocol, gate and refinement are always named.

Import from the modules: `evaluation` (files and maps), `model` (a model on images), `report` (counts, and the scores
from them), `protocols` (what is counted), `metrics`, `boundary`, `bootstrap`, `calibration_error` (pure numbers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.evaluation.bootstrap import Interval, Intervals
    from wsi_lpd.evaluation.calibration_error import ImageLevelScores
    from wsi_lpd.evaluation.evaluation import evaluate_files, evaluate_maps
    from wsi_lpd.evaluation.model import evaluate_model
    from wsi_lpd.evaluation.outputs import write_outputs
    from wsi_lpd.evaluation.protocols import GATES, PROTOCOLS, Scores
    from wsi_lpd.evaluation.report import Report
    from wsi_lpd.evaluation.true_images import TrueFolder, TrueImage, open_true_folder
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "bootstrap": ["Interval", "Intervals"],
            "calibration_error": ["ImageLevelScores"],
            "evaluation": ["evaluate_files", "evaluate_maps"],
            "model": ["evaluate_model"],
            "outputs": ["write_outputs"],
            "protocols": ["GATES", "PROTOCOLS", "Scores"],
            "report": ["Report"],
            "true_images": ["TrueFolder", "TrueImage", "open_true_folder"],
        },
    )

__all__ = [
    "GATES",
    "PROTOCOLS",
    "ImageLevelScores",
    "Interval",
    "Intervals",
    "Report",
    "Scores",
    "TrueFolder",
    "TrueImage",
    "evaluate_files",
    "evaluate_maps",
    "evaluate_model",
    "open_true_folder",
    "write_outputs",
]
