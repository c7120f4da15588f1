"""A training run on disk: its folder, identity, metrics, state and report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.training.run.job import TrainedRun, TrainingData, load_training_data
    from wsi_lpd.training.run.run_folder import RunFolder
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "job": ["TrainedRun", "TrainingData", "load_training_data"],
            "run_folder": ["RunFolder"],
        },
    )

__all__ = ["RunFolder", "TrainedRun", "TrainingData", "load_training_data"]
