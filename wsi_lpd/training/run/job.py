"""One training run from label files to a finished run folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wsi_lpd.classes import qupath_classes
from wsi_lpd.config import Config, methods
from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.sources import LabelTable, read_labels
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.network import LpdNetwork
from wsi_lpd.models.saved.card import Calibration
from wsi_lpd.models.saved.checkpoint import save_model
from wsi_lpd.models.saved.describe import describe_model
from wsi_lpd.models.saved.runs import RUNS_DIR, mark_latest
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.stores.masks import MaskStore
from wsi_lpd.training.calibration import fit_background, fit_calibration
from wsi_lpd.training.data.split import split_by_group
from wsi_lpd.training.local_processes import extra_processes
from wsi_lpd.training.modes import deterministic
from wsi_lpd.training.processes import Processes, joined
from wsi_lpd.training.run.identity import patch_mpp, run_identity
from wsi_lpd.training.run.report import report_run
from wsi_lpd.training.run.run_folder import RunFolder, choose_run
from wsi_lpd.training.trainer import Trainer, TrainingResult

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
    pseudo_masks: MaskStore | None = None
    """Pseudo masks of the training patches; what a decoder learns from."""


def load_training_data(
    labels: Sequence[Path],
    validation: Sequence[Path],
    config: Config,
    *,
    classes: Sequence[str] | None = None,
    masks: Path | None = None,
) -> TrainingData:
    """Reads the label tables; without `validation`, whole slides are held out.

    Args:
        labels: Label files and folders.
        validation: The same of held-out patches, or nothing.
        config: The configuration.
        classes: See `read_labels`.
        masks: Pseudo masks that hold every training patch, for a method that learns from them, and for no other.

    Raises:
        LabelError: If a table cannot be understood, or the classes differ.
        StoreError: If the masks cannot be read, or are of other patches or classes.
        TrainingError: If there is too little to hold anything out.
    """
    _check_masks(masks, config)
    table = read_labels(labels, classes=classes)
    if validation:
        data = TrainingData(table, read_labels(validation, classes=table.classes))
        _check_apart(data.training, data.validation)
    else:
        data = TrainingData(*split_by_group(table, fraction=config.train.val_fraction, seed=config.train.seed))
    for warning in one_sided_classes(data.training):
        logger.warning(warning)
    if masks is None:
        return data
    store = MaskStore.open(masks)
    store.check_fits(data.training)
    return replace(data, pseudo_masks=store)


def _check_apart(training: LabelTable, validation: LabelTable | None) -> None:
    """Refuses patches that are to be learnt from and judged on; warns of slides and patients on both sides."""
    if validation is None:
        return
    shared = set(training.sources) & set(validation.sources)
    if shared:
        source = min(shared, key=lambda s: (str(s.path), s.index or 0))
        index = "" if source.index is None else f" patch {source.index}"
        raise TrainingError(
            f"--val: {len(shared)} of its {len(validation)} patches are in --labels too, such as {source.path}{index}; "
            "a score on them says nothing. Remove them from one of the two"
        )
    both = sorted(set(training.groups) & set(validation.groups))
    if both and all(source.index is not None for source in validation.sources):  # image files have names, not slides
        logger.warning("--val: %d of its slides or patients are in --labels too, such as %s", len(both), both[0])


def _check_masks(masks: Path | None, config: Config) -> None:
    if masks is not None and not config.spec.learns_from_masks:
        second_stages = " or ".join(f"--set method={name}" for name, s in methods().items() if s.learns_from_masks)
        raise TrainingError(
            f"--masks is given, but method {config.method} learns from labels alone; add {second_stages}, or leave "
            "--masks out"
        )
    if masks is None and config.spec.learns_from_masks:
        raise TrainingError(
            f"method {config.method} learns from pseudo masks and there are none; make them with `wsi-lpd "
            "pseudo-mask`, and give them with --masks FOLDER"
        )


def one_sided_classes(table: LabelTable) -> list[str]:
    """A warning for each class that a table tells too little of to learn it."""
    warnings = []
    for i, name in enumerate(table.classes):
        present, absent = (bool((table.labels[:, i] == value).any()) for value in (1, 0))
        if not present and not absent:
            warnings.append(f"class {name} is judged on none of the {len(table)} training patches: it cannot be learnt")
        elif not present:
            warnings.append(f"class {name} has no positive patch among the training patches: it cannot be learnt")
        elif not absent:
            warnings.append(
                f"class {name} has no negative patch among the training patches: nothing says where it is not; "
                "write 0 where it is absent"
            )
    return warnings


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
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; with several processes `auto`, `cpu` or `cuda`.
        progress: Told of every step.

    Returns:
        The run. In all processes but the first its scores are empty.

    Raises:
        TrainingError: If training cannot start or go on; with several processes one of them says why, and the others
            raise its subclass PeerError.
        ModelError: If encoder, weights or device cannot be had.
    """
    work = partial(train, data, config, runs_dir=runs_dir, out=out, resume=resume, device=device)
    with (
        extra_processes(config.train.processes, work),
        joined(device) as processes,
        deterministic(config.train.deterministic),
    ):
        identity = run_identity(config, data.training, data.validation, n_processes=processes.count)
        if data.pseudo_masks is not None:
            identity["masks"] = data.pseudo_masks.fingerprint
        run = _chosen_run(runs_dir, out, config, identity, resume, processes)
        if run.finished:
            return _finished_already(runs_dir, run, processes)
        chosen = choose_device(processes.device_name(device))
        trainer = Trainer(
            config,
            data.training,
            data.validation,
            run=run,
            device=chosen,
            progress=progress,
            processes=processes,
            pseudo_masks=data.pseudo_masks,
        )
        if processes.is_first:
            run.start(config, identity)
        result = trainer.fit()
        if processes.is_first:
            _settle_background(result, config)
            _save(run, result, config, data)
            mark_latest(runs_dir, run.path)
            if config.train.report:
                report_run(run.path, result.network, data.training, data.validation, device=chosen, progress=progress)
        return TrainedRun(run.path, _scores(result), was_finished=False)


def _chosen_run(
    runs_dir: Path,
    out: Path | None,
    config: Config,
    identity: Mapping[str, str],
    resume: bool | None,
    processes: Processes,
) -> RunFolder:
    """The first process chooses: the name of a new run is the time."""
    path = None
    if processes.is_first:
        path = choose_run(runs_dir, out, config=config, identity=identity, resume=resume).path
    chosen = processes.from_first(path)
    assert chosen is not None
    return RunFolder(chosen)


def _finished_already(runs_dir: Path, run: RunFolder, processes: Processes) -> TrainedRun:
    if processes.is_first:
        mark_latest(runs_dir, run.path)
    return TrainedRun(run.path, run.scores(), was_finished=True)


def _save(run: RunFolder, result: TrainingResult, config: Config, data: TrainingData) -> None:
    table = data.training
    card = describe_model(
        config,
        classes=qupath_classes(table.classes),
        label_columns=table.classes,
        mpp=patch_mpp(table, config),
        patch_px=table.patch_px,
        encoder=result.network.encoder,
        calibration=_calibration(result, len(table.classes)),
        metrics=_scores(result),
        data_fingerprint=table.fingerprint,
    )
    save_model(run.path, result.network.state_dict(), card)


def _settle_background(result: TrainingResult, config: Config) -> None:
    """Moves the finished network's background to where held-out tissue and glass are told apart best.

    A decoder's stays: its masks say of every position what it is, and where they never say background no threshold
    between tissue and glass is found that does not take half of the tissue.
    """
    if result.validation is None or not isinstance(result.network, LpdNetwork):
        return
    if not config.model.background or config.model.scores == "relative":
        return
    moved = fit_background(result.validation.tissue_margins, result.validation.glass_margins)
    result.network.raise_background(moved)
    result.validation.metrics["background_moved"] = moved


def _calibration(result: TrainingResult, n_classes: int) -> Calibration:
    if result.validation is None:
        return Calibration(temperature=(1.0,) * n_classes, offset=(0.0,) * n_classes)
    temperature, offset = fit_calibration(result.validation.logits, result.validation.labels)
    return Calibration(temperature=tuple(temperature), offset=tuple(offset))


def _scores(result: TrainingResult) -> dict[str, float]:
    return {} if result.validation is None else result.validation.metrics
