"""One training run from label files to a finished run folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_lpd.classes import qupath_classes
from wsi_lpd.config import Config
from wsi_lpd.models.card import Calibration, ModelCard
from wsi_lpd.models.checkpoint import save_model
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.runs import RUNS_DIR, mark_latest
from wsi_lpd.patches.labels import LabelTable, read_labels
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.train.calibration import fit_calibration
from wsi_lpd.train.data import split_by_group
from wsi_lpd.train.run_folder import RunFolder, choose_run, run_identity, table_fingerprint
from wsi_lpd.train.trainer import Trainer, TrainingResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """A finished run."""

    path: Path
    metrics: dict[str, float]
    """Scores on the held-out patches; empty where none were held out."""
    was_finished: bool
    """Whether it was there already, so that nothing had to be done."""


@dataclass(frozen=True)
class TrainingData:
    """Patches to learn from, and patches to check with."""

    training: LabelTable
    validation: LabelTable | None


def load_training_data(
    labels: Sequence[Path], validation: Sequence[Path], config: Config, *, classes: Sequence[str] | None = None
) -> TrainingData:
    """Reads the label tables; without `validation`, whole slides are held out.

    Raises:
        LabelError: If a table cannot be understood, or the classes differ.
        TrainingError: If there is too little to hold anything out.
    """
    table = read_labels(labels, classes=classes)
    if validation:
        return TrainingData(table, read_labels(validation, classes=table.classes))
    return TrainingData(*split_by_group(table, fraction=config.train.val_fraction, seed=config.train.seed))


def train(
    data: TrainingData,
    config: Config,
    *,
    runs_dir: Path = RUNS_DIR,
    out: Path | None = None,
    resume: bool | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> TrainedRun:
    """Trains, calibrates, and leaves a run folder that `segment` can use.

    Args:
        data: Result of `load_training_data`.
        config: The configuration.
        runs_dir: Where new runs go, and where the name of the newest finished one is kept.
        out: The run folder; none makes one named after the time.
        resume: True must go on with an unfinished run, False starts anew, None goes on where it can.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        progress: Told of every step.
    """
    identity = run_identity(config, data.training, data.validation)
    run = choose_run(runs_dir, out, name=config.name, identity=identity, resume=resume)
    if run.finished:
        mark_latest(runs_dir, run.path)
        return TrainedRun(run.path, run.scores(), was_finished=True)
    chosen = choose_device(device)
    trainer = Trainer(config, data.training, data.validation, run=run, device=chosen, progress=progress)
    run.start(config, identity)
    result = trainer.fit()
    _save(run, result, config, data)
    mark_latest(runs_dir, run.path)
    return TrainedRun(run.path, _scores(result), was_finished=False)


def _save(run: RunFolder, result: TrainingResult, config: Config, data: TrainingData) -> None:
    table = data.training
    card = ModelCard.describing(
        config,
        classes=qupath_classes(table.classes),
        label_columns=table.classes,
        mpp=_known(table.mpp, config),
        patch_px=table.patch_px,
        encoder=result.network.encoder,
        calibration=_calibration(result, len(table.classes)),
        metrics=_scores(result),
        data_fingerprint=table_fingerprint(table),
    )
    save_model(run.path, result.network.state_dict(), card)


def _calibration(result: TrainingResult, n_classes: int) -> Calibration:
    if result.validation is None:
        return Calibration(temperature=(1.0,) * n_classes, offset=(0.0,) * n_classes)
    temperature, offset = fit_calibration(result.validation.logits, result.validation.labels)
    return Calibration(temperature=tuple(temperature), offset=tuple(offset))


def _scores(result: TrainingResult) -> dict[str, float]:
    return {} if result.validation is None else result.validation.metrics


def _known(mpp: float | None, config: Config) -> float:
    """Micrometres per pixel of the patches; image files do not state it, so the configuration does."""
    return config.tile.mpp if mpp is None else mpp
