"""The loop, in one place, from the first step to the finished model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from wsi_lpd.config import Config
from wsi_lpd.errors import TrainingError
from wsi_lpd.losses.classification import positive_weights
from wsi_lpd.models.device import autocast, autocast_dtype
from wsi_lpd.models.network import MOSAIC_SIDE, LpdNetwork, build_network
from wsi_lpd.patches.labels import LabelTable
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.train.augment import flipped, glass_share, recoloured
from wsi_lpd.train.clock import Clock
from wsi_lpd.train.data import epoch_batches, training_batches
from wsi_lpd.train.objective import Losses, lpd_losses, ramp
from wsi_lpd.train.optimizer import build_optimizer, rate_factor, set_rate
from wsi_lpd.train.run_folder import MetricsFile, RunFolder
from wsi_lpd.train.validation import Validation, to_images, validate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What the loop ends with."""

    network: LpdNetwork
    """The averaged weights, on the CPU, in eval mode."""
    validation: Validation | None
    steps: int


class Trainer:
    """Trains one network; every random number is a function of the seed and the step, so a resumed run is the same."""

    def __init__(
        self,
        config: Config,
        training: LabelTable,
        validation: LabelTable | None,
        *,
        run: RunFolder,
        device: torch.device,
        progress: Progress = SILENT,
    ) -> None:
        self.config = config
        self.training = training
        self.validation = validation
        self.run = run
        self.device = device
        self.progress = progress
        torch.manual_seed(config.train.seed)
        self.network = build_network(config.model, n_classes=len(training.classes)).to(device)
        self.average = AveragedModel(
            self.network,
            multi_avg_fn=get_ema_multi_avg_fn(config.train.ema_decay),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self.optimizer = build_optimizer(self.network, config.train)
        self.autocast_dtype = autocast_dtype(config.train.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.autocast_dtype == torch.float16)
        self.steps_per_epoch = self._batches_per_epoch() // config.train.accumulate
        if self.steps_per_epoch == 0:
            raise TrainingError(
                f"{len(training)} patches give {self._batches_per_epoch()} batches an epoch, fewer than "
                f"train.accumulate={config.train.accumulate}; lower it or train.batch_size"
            )
        self.total_steps = config.train.epochs * self.steps_per_epoch
        if config.train.max_steps is not None:
            self.total_steps = min(self.total_steps, config.train.max_steps)
        labels = torch.from_numpy(training.labels)
        weights = positive_weights(labels) if config.loss.balance_classes else torch.ones(labels.shape[1])
        self.positive_weights = weights.to(device)

    def fit(self) -> TrainingResult:
        """Trains to the end, from the last checkpoint where there is one."""
        first = self._resume()
        metrics = self.run.metrics(from_step=first)
        accumulate = self.config.train.accumulate
        batches = training_batches(
            self.training,
            batch_size=self.config.train.batch_size,
            seed=self.config.train.seed,
            workers=self.config.train.workers,
            first=first * accumulate,
            last=self.total_steps * accumulate,
        )
        scores: Validation | None = None
        with (
            self.progress.stage("training", self.total_steps, "steps") as advance,
            SummaryWriter(str(self.run.path), purge_step=first) as board,
        ):
            advance(first)
            clock = Clock()
            for step in range(first, self.total_steps):
                batch = []
                for _ in range(accumulate):
                    with clock.waiting():
                        batch.append(next(batches))
                row = self._step(step, batch)
                clock.count(sum(len(patches) for patches, _ in batch))
                advance(1)
                done = step + 1
                place = {"step": done, "epoch": step // self.steps_per_epoch + 1}
                if row is not None:
                    _log(metrics, board, {**place, "part": "train", **row, **clock.row()})
                last_of_epoch = done % self.steps_per_epoch == 0 or done == self.total_steps
                if last_of_epoch and self.validation is not None:
                    scores = self._validate()
                    _log(metrics, board, {**place, "part": "val", **scores.metrics})
                if done % self.config.train.checkpoint_every == 0 and done < self.total_steps:
                    self.run.save_state(self._state(done))
        if scores is None and self.validation is not None:
            scores = self._validate()
        return TrainingResult(_averaged(self.average).cpu().eval(), scores, self.total_steps)

    def _step(self, step: int, batch: list[tuple[Tensor, Tensor]]) -> dict[str, float] | None:
        """One optimiser step; returns numbers for the log at every `log_every`-th step."""
        config = self.config
        self.network.train()
        set_rate(self.optimizer, rate_factor(step, self.total_steps, config.train.warmup))
        strength = ramp(step / self.total_steps, config.loss)
        logged = (step + 1) % config.train.log_every == 0
        row: dict[str, float] = {}
        generator = torch.Generator().manual_seed(_mix(config.train.seed, step))
        torch.manual_seed(_mix(config.train.seed, step))  # drop-path draws from the global generator
        for patches, labels in batch:
            losses = self._losses(patches, labels, generator, strength)
            if logged and not row:
                row = losses.values()
                if strength > 0:
                    row["diversity_gradient_ratio"] = self._gradient_ratio(losses)
            self.scaler.scale(losses.total / len(batch)).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), config.train.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update_parameters(self.network)
        if logged:
            if not all(torch.isfinite(torch.tensor(list(row.values())))):
                raise TrainingError(f"step {step + 1}: the loss is not finite; lower train.learning_rate")
            return row | {"learning_rate": self.optimizer.param_groups[0]["lr"]}
        return None

    def _losses(self, patches: Tensor, labels: Tensor, generator: torch.Generator, strength: float) -> Losses:
        config = self.config
        images = to_images(patches, self.device)
        labels = labels.to(self.device, non_blocking=True)
        if config.augment.flips:
            images = flipped(images, generator)
        clean = images
        mosaic = self._mosaic(len(images), generator)
        images = recoloured(images, config.augment, generator)
        with autocast(self.device, self.autocast_dtype):
            output = self.network(images, mosaic=mosaic)
            teacher = None
            if strength > 0:
                with torch.no_grad():
                    teacher = _averaged(self.average).eval()(images, mosaic=mosaic)
        return lpd_losses(
            self.network,
            output,
            teacher,
            labels=labels,
            glass=glass_share(clean, (output.fused_maps.shape[-2], output.fused_maps.shape[-1])),
            positive_weights=self.positive_weights,
            strength=strength,
            config=config.loss,
        )

    def _mosaic(self, n_images: int, generator: torch.Generator) -> int:
        """Patches side by side in this step: two in the configured share of steps, if the batch can be laid out so."""
        drawn = float(torch.rand((), generator=generator))
        wanted = drawn < self.config.augment.mosaic and n_images % MOSAIC_SIDE**2 == 0
        return MOSAIC_SIDE if wanted else 1

    def _gradient_ratio(self, losses: Losses) -> float:
        """Norm of the diversity term's gradient on the prototypes over that of the classification loss."""
        vectors = self.network.prototypes.vectors
        norms = [
            torch.autograd.grad(term, vectors, retain_graph=True)[0].norm()
            for term in (losses.diversity, losses.classification)
        ]
        return float(norms[0] / norms[1].clamp(min=1e-12))

    def _validate(self) -> Validation:
        assert self.validation is not None
        return validate(
            _averaged(self.average),
            self.validation,
            batch_size=2 * self.config.train.batch_size,
            workers=0,
            device=self.device,
        )

    def _batches_per_epoch(self) -> int:
        return len(epoch_batches(len(self.training), self.config.train.batch_size, seed=0, epoch=0))

    def _state(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def _resume(self) -> int:
        state = self.run.load_state()
        if state is None:
            return 0
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            step = int(state["step"])
        except (KeyError, RuntimeError, ValueError) as err:
            raise TrainingError(f"{self.run.path}: its state does not fit this configuration ({err})") from err
        logger.info("%s: going on at step %d of %d", self.run.path, step, self.total_steps)
        return step


def _averaged(average: AveragedModel) -> LpdNetwork:
    network = average.module
    assert isinstance(network, LpdNetwork)
    return network


def _log(metrics: MetricsFile, board: Any, row: dict[str, Any]) -> None:
    metrics.add(row)
    for key, value in row.items():
        if isinstance(value, float):
            board.add_scalar(f"{row['part']}/{key}", value, row["step"])


def _mix(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step) % 2**63
