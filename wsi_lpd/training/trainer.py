"""The loop, in one place, from the first step to the finished model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch.profiler import record_function

from wsi_lpd.config import Config
from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.losses.classification import positive_weights
from wsi_lpd.methods.base import Method, Place
from wsi_lpd.models.network import TissueNetwork
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.stores.masks import MaskStore
from wsi_lpd.training.clock import Clock
from wsi_lpd.training.data.batches import Batch, batches_per_epoch, ordered_batches, training_batches, training_rows
from wsi_lpd.training.data.build_features import cached_features
from wsi_lpd.training.data.features import FeatureCache
from wsi_lpd.training.learner import Learner
from wsi_lpd.training.processes import ALONE, Processes
from wsi_lpd.training.profiling import profiled
from wsi_lpd.training.run.logbook import logbook
from wsi_lpd.training.run.run_folder import RunFolder
from wsi_lpd.training.validation import Validation, validate

logger = logging.getLogger(__name__)

FEATURES_DIR: Final = "features"
"""Beside the runs: cached maps of frozen encoders."""


@dataclass(frozen=True)
class TrainingResult:
    """What the loop ends with."""

    network: TissueNetwork
    """The averaged weights, on the CPU, in eval mode."""
    validation: Validation | None
    """Of the finished network; None where nothing was held out, and in all processes but the first."""
    steps: int


class Trainer:
    """Trains one network from a run folder's last checkpoint to the end; a resumed run gives the same weights.

    Args:
        config: The configuration.
        training: Patches to learn from.
        validation: Held-out patches, scored at the end of every epoch.
        run: Where everything is written, by the first process alone.
        device: Where the network runs.
        progress: Told of every step.
        processes: This process among those that train together.
        pseudo_masks: Of the training patches, for a decoder.

    Raises:
        TrainingError: If there are too few patches for one step.
    """

    def __init__(
        self,
        config: Config,
        training: LabelTable,
        validation: LabelTable | None,
        *,
        run: RunFolder,
        device: torch.device,
        progress: Progress = SILENT,
        processes: Processes = ALONE,
        pseudo_masks: MaskStore | None = None,
    ) -> None:
        self.config = config
        self.pseudo_masks = pseudo_masks
        self.training = training
        self.validation = validation if processes.is_first else None
        self._tables = [training] if validation is None else [training, validation]
        self.run = run
        self.device = device
        self.progress = progress if processes.is_first else SILENT
        self.processes = processes
        per_epoch = batches_per_epoch(len(training), config.train.batch_size, processes=processes)
        self.steps_per_epoch = per_epoch // config.train.accumulate
        if self.steps_per_epoch == 0:
            raise TrainingError(
                f"{len(training)} patches give {per_epoch} batches an epoch, fewer than "
                f"train.accumulate={config.train.accumulate}; lower it or train.batch_size"
            )
        self.total_steps = config.train.epochs * self.steps_per_epoch
        if config.train.max_steps is not None:
            self.total_steps = min(self.total_steps, config.train.max_steps)
        labels = torch.from_numpy(training.labels)
        self.learner = Learner(
            config,
            class_names=training.classes,
            positive_weights=positive_weights(labels) if config.loss.balance_classes else torch.ones(labels.shape[1]),
            device=device,
            patches=partial(ordered_batches, training, batch_size=2 * config.train.batch_size, workers=0),
            processes=processes,
            mask_weights=Method.mask_weights if pseudo_masks is None else pseudo_masks.meta.weights,
        )
        cell_px = self.learner.network.encoder.cell_px
        if config.augment.mosaic > 0 and training.patch_px is not None and training.patch_px % cell_px:
            logger.info(
                "patches of %d px are not a whole number of the encoder's cells of %d px: no mosaics are learnt from",
                training.patch_px,
                cell_px,
            )

    def fit(self) -> TrainingResult:
        """Trains to the end, from the last checkpoint where there is one."""
        settings = self.config.train
        first = self._resume()
        if settings.cache_features:
            self.learner.features = self._cached_features()
        if first == 0:
            self.learner.prepare()
        batches, rows = self._batches(first), self._rows(first)
        scores: Validation | None = None
        with (
            self.progress.stage("training", self.total_steps, "steps") as advance,
            logbook(self.run, first=first, writes=self.processes.is_first) as log,
            profiled(self.run.path, settings.profile if self.processes.is_first else 0, self.device) as stepped,
        ):
            advance(first)
            clock = Clock()
            for step in range(first, self.total_steps):
                done = step + 1
                with clock.waiting(), record_function("wait for data"):
                    batch = [next(batches) for _ in range(settings.accumulate)]
                kept = None if rows is None else [next(rows) for _ in range(settings.accumulate)]
                row = self.learner.step(self._place(step), batch, logged=done % settings.log_every == 0, rows=kept)
                clock.count(self.processes.count * sum(len(part.patches) for part in batch))
                advance(1)
                stepped()
                where = {"step": done, "epoch": step // self.steps_per_epoch + 1}
                if row is not None:
                    log({**where, "part": "train", **row, **clock.row()})
                if (done % self.steps_per_epoch == 0 or done == self.total_steps) and self.validation is not None:
                    with clock.apart():
                        scores = self._validate(self.validation)
                    log({**where, "part": "val", **scores.metrics})
                if done % settings.checkpoint_every == 0 and done < self.total_steps and self.processes.is_first:
                    self.run.save_state({"step": done, **self.learner.state_dict()})
        if scores is None and self.validation is not None:
            scores = self._validate(self.validation)
        return TrainingResult(self.learner.average.network.cpu().eval(), scores, self.total_steps)

    def _place(self, step: int) -> Place:
        return Place(step, self.total_steps, self.steps_per_epoch)

    def _batches(self, first: int) -> Iterator[Batch]:
        settings = self.config.train
        return training_batches(
            self.training,
            batch_size=settings.batch_size,
            seed=settings.seed,
            workers=settings.workers,
            worker_start=settings.worker_start,
            first=first * settings.accumulate,
            last=self.total_steps * settings.accumulate,
            processes=self.processes,
            pseudo_masks=self.pseudo_masks,
        )

    def _rows(self, first: int) -> Iterator[list[int]] | None:
        """Where the features of the batches' patches are kept; None without a cache."""
        if self.learner.features is None:
            return None
        settings, of_table = self.config.train, self.learner.features.rows(self.training)
        batches = training_rows(
            len(self.training),
            batch_size=settings.batch_size,
            seed=settings.seed,
            first=first * settings.accumulate,
            last=self.total_steps * settings.accumulate,
            processes=self.processes,
        )
        return ([of_table[row] for row in batch] for batch in batches)

    def _cached_features(self) -> FeatureCache:
        settings = self.config.train
        folder = self.run.path.parent / FEATURES_DIR if settings.cache_dir is None else Path(settings.cache_dir)
        return cached_features(
            self.learner.network,
            self._tables,
            folder=folder,
            flips=self.config.augment.flips,
            batch_size=settings.batch_size,
            device=self.device,
            dtype=self.learner.autocast_dtype,
            processes=self.processes,
            progress=self.progress,
        )

    def _validate(self, table: LabelTable) -> Validation:
        return validate(
            self.learner.average.network,
            table,
            batch_size=2 * self.config.train.batch_size,
            workers=0,
            device=self.device,
            oracle_gate=self.learner.method.oracle_gate,
            features=self.learner.features,
        )

    def _resume(self) -> int:
        """The step to begin with, after the learner has taken over the state that the first process reads."""
        state = self.processes.from_first(self.run.load_state() if self.processes.is_first else None)
        return 0 if state is None else self.run.resumed(state, self.learner.load_state_dict, self.total_steps)
