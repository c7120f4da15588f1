"""The data pipeline, the loop, and the folder a run leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.training.processes import Processes, joined
    from wsi_lpd.training.trainer import Trainer, TrainingResult
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "processes": ["Processes", "joined"],
            "trainer": ["Trainer", "TrainingResult"],
        },
    )

__all__ = ["Processes", "Trainer", "TrainingResult", "joined"]
