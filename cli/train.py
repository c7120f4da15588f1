"""`wsi-lpd train`: image-level patch labels to a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from ._console import BarProgress, given, is_first_process, log_errors_only, print_json, say, user_errors
from ._options import ConfigOption, DeviceOption, JsonOption, LabelsOption, SetOption, optional

ValOption = Annotated[
    list[Path] | None,
    optional(
        "--val",
        metavar="PATH",
        help="Labels of held-out patches, in the same forms; may be repeated.",
        default="hold out whole slides",
    ),
]
ClassesOption = Annotated[
    str | None,
    optional(
        "--classes",
        metavar="A,B,C",
        help="Class names, for labels that do not state them.",
        default="the names in the labels",
    ),
]
MasksOption = Annotated[
    Path | None,
    optional(
        "--masks",
        metavar="FOLDER",
        help="Pseudo-masks made by `pseudo-mask`, for --set method=decoder.",
        default="none",
    ),
]
OutOption = Annotated[
    Path | None,
    optional("--out", "-o", metavar="FOLDER", help="Run folder.", default="runs/<time>-<name>"),
]
ResumeOption = Annotated[
    bool | None,
    optional(
        "--resume/--no-resume",
        help="Insist on resuming an unfinished run, or always start a new one.",
        default="resume a run of the same configuration and data",
    ),
]


def train(
    labels: LabelsOption,
    val: ValOption = None,
    classes: ClassesOption = None,
    masks: MasksOption = None,
    out: OutOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model from image-level patch labels.

    Re-running resumes an unfinished run of the same configuration and data.
    """
    options = given(locals())
    if os.environ.get("WORLD_SIZE", "1") != "1":  # every process of torch would log its internals
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if not is_first_process():
        log_errors_only()
    with user_errors():
        from wsi_lpd.api import train as train_model

        run = train_model(**options, progress=BarProgress(), tell=say)
    if as_json and is_first_process():
        print_json({"run": str(run.path), "was_finished": run.was_finished, "metrics": run.metrics})
