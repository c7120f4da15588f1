"""One pretraining from patches without labels to weights that `train` starts from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi_lpd.config import Config
from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.models.device import choose_device
from wsi_lpd.models.encoders.build import Encoder
from wsi_lpd.pretraining.folder import PretrainFolder, pretraining_identity
from wsi_lpd.pretraining.trainer import Pretrainer
from wsi_lpd.pretraining.vicreg import timm_state
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.training.modes import deterministic
from wsi_lpd.training.run.identity import patch_mpp
from wsi_lpd.training.run.run_folder import asked_for
from wsi_lpd.versions import versions_of


@dataclass(frozen=True)
class PretrainedWeights:
    """The outcome of a pretraining."""

    path: Path
    """The folder, for `model.weights`."""
    metrics: dict[str, float]
    """Loss and spread of the features at the last step."""
    was_finished: bool
    """Whether they existed already, so that nothing was done."""


def pretrain(
    table: LabelTable, config: Config, *, out: Path, device: str = "auto", progress: Progress = SILENT
) -> PretrainedWeights:
    """Trains the encoder of `config.model` by VICReg and writes its weights in the hub's layout.

    After an interruption, the same call resumes and ends with the same weights.

    Args:
        table: Patches; their labels are ignored.
        config: The sections `model` and `pretrain`, and those keys of `train` that say how to run.
        out: The folder.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        progress: Advances by steps.

    Raises:
        TrainingError: If it cannot start or resume, or `out` holds something else.
        ModelError: If the encoder, its weights or the device is not available.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise TrainingError("pretrain runs in one process; start it without torchrun")
    identity = pretraining_identity(config, table)
    run = asked_for(PretrainFolder(out), config, identity)
    if run.finished:
        return PretrainedWeights(out, run.last_metrics(), was_finished=True)
    with deterministic(config.train.deterministic):
        pretrainer = Pretrainer(config, table, run=run, device=choose_device(device))
        run.start(config, identity)
        row = pretrainer.fit(progress)
    metrics = {name: row[name] for name in ("loss", "feature_std")}
    encoder = pretrainer.network.encoder
    run.save_weights(timm_state(encoder), _about(encoder, config, table, steps=pretrainer.total_steps, metrics=metrics))
    run.state_path.unlink(missing_ok=True)
    return PretrainedWeights(out, metrics, was_finished=False)


def _about(
    encoder: Encoder, config: Config, table: LabelTable, *, steps: int, metrics: dict[str, float]
) -> dict[str, Any]:
    """The content of `config.json`: timm's layout, and how the weights were made."""
    recipe = (
        f"VICReg, {steps} steps of {min(config.pretrain.batch_size, len(table))} from {len(table)} patches of "
        f"{table.patch_px} px at {patch_mpp(table, config):g} um/px, seed {config.train.seed}; "
        f"started from: {encoder.weights}"
    )
    card = {"mean": encoder.mean, "std": encoder.std, "license": encoder.licence, "notes": [recipe]}
    return {
        "architecture": encoder.blueprint.architecture,
        "model_args": dict(encoder.blueprint.arguments),
        "num_classes": 0,
        "pretrained_cfg": card,
        "metrics": metrics,
        "versions": versions_of(("torch", "timm", "lightly")),
    }
