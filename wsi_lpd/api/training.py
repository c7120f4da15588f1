"""`train` as a function: image-level patch labels to a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.api.batch import Tell, own_errors, silent
from wsi_lpd.api.options import PathLike, Settings, as_paths, class_names, configuration, optional_path
from wsi_lpd.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsi_lpd.config import Config
    from wsi_lpd.training.run.job import TrainedRun


def train(
    labels: PathLike | Sequence[PathLike],
    *,
    val: PathLike | Sequence[PathLike] | None = None,
    classes: str | Sequence[str] | None = None,
    masks: PathLike | None = None,
    out: PathLike | None = None,
    config: PathLike | None = None,
    settings: Settings = (),
    device: str = "auto",
    resume: bool | None = None,
    progress: Progress = SILENT,
    tell: Tell = silent,
) -> TrainedRun:
    """Trains a model from image-level patch labels.

    Calling it again resumes an unfinished run of the same configuration and data, and leaves a finished one in `out`
    alone.

    Args:
        labels: `patches.csv`, a CSV of images, or a folder of patches with labels in their names; one or several.
        val: The same of held-out patches; None holds out whole slides.
        classes: Class names, where the labels do not state them.
        masks: Pseudo-masks of the training patches, for method `decoder`.
        out: The run folder; None makes `runs/<time>-<name>`.
        config: A configuration file.
        settings: Any other configuration values, `["train.epochs=3"]` or `{"train.epochs": 3}`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        resume: True only resumes an unfinished run, False always starts over, None resumes where it can.
        progress: Told of every step.
        tell: Takes each line that the command prints.

    Returns:
        The run: `path` of its folder, `metrics` on the held-out patches (0 to 1; F1, AUROC), `was_finished`.

    Raises:
        OptionError: If class names are empty or given twice.
        ConfigError: If a setting is wrong.
        LabelError, StoreError, FileError: If labels, patches or masks cannot be read.
        ModelError: If encoder, weights or device cannot be had.
        TrainingError: If training cannot start or resume.
    """
    from wsi_lpd.labels.sources import class_balance
    from wsi_lpd.training.processes import joined
    from wsi_lpd.training.run.job import load_training_data
    from wsi_lpd.training.run.job import train as train_run

    names = class_names(classes)
    with own_errors(), joined(device) as processes:
        tell = tell if processes.is_first else silent
        resolved = configuration(config, settings)
        data = load_training_data(as_paths(labels), as_paths(val), resolved, classes=names, masks=optional_path(masks))
        for line in (*class_balance(data.training), *_hints(resolved)):
            tell(line)
        run = train_run(data, resolved, out=optional_path(out), resume=resume, device=device, progress=progress)
        tell(_line(run))
        return run


def _hints(config: Config) -> list[str]:
    if config.model.weights != "none":
        return []
    return [
        f"{config.model.encoder} starts from random weights; for published ones use --set model.weights=timm "
        "(a download), or a local file"
    ]


def _line(run: TrainedRun) -> str:
    if run.was_finished:
        return f"{run.path}: already finished; use another --out or --no-resume to train again"
    return f"{run.path}: {', '.join(f'{name} {value:.3f}' for name, value in run.metrics.items())}"
