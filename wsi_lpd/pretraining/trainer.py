"""The pretraining loop, from the first step or the last checkpoint to the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wsi_lpd.config import Config, PretrainConfig
from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.sources import LabelTable
from wsi_lpd.models.device import autocast, autocast_dtype, to_images
from wsi_lpd.models.views import VIEWS
from wsi_lpd.pretraining.folder import PretrainFolder
from wsi_lpd.pretraining.vicreg import Outputs, build_loss, build_vicreg, feature_spread
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.training.clock import Clock
from wsi_lpd.training.data.augment import Draws, cropped, flipped, recoloured
from wsi_lpd.training.data.batches import batches_per_epoch, training_batches
from wsi_lpd.training.learner import step_seed
from wsi_lpd.training.modes import compiled
from wsi_lpd.training.optimizer import rate_factor, set_rate
from wsi_lpd.training.run.logbook import logbook
from wsi_lpd.training.run.state import check_network, restoring

Row = dict[str, float]


class Pretrainer:
    """VICReg on one device; every random number is a function of the seed and the step.

    Args:
        config: The configuration.
        table: Patches; their labels are ignored.
        run: The folder to write.
        device: Where the network runs.

    Raises:
        TrainingError: If there are too few patches for one step.
        ModelError: If the encoder or its weights are not available.
    """

    def __init__(self, config: Config, table: LabelTable, *, run: PretrainFolder, device: torch.device) -> None:
        settings, training = config.pretrain, config.train
        if len(table) < 2:
            raise TrainingError(f"pretraining compares different patches: found {len(table)}, expected at least 2")
        self.config = config
        self.table = table
        self.run = run
        self.device = device
        self.steps_per_epoch = batches_per_epoch(len(table), settings.batch_size)
        self.total_steps = settings.epochs * self.steps_per_epoch
        if settings.max_steps is not None:
            self.total_steps = min(self.total_steps, settings.max_steps)
        torch.manual_seed(training.seed)
        layout = torch.channels_last if training.channels_last else torch.preserve_format
        network = build_vicreg(config.model, settings)
        self.network = network.to(device, memory_format=layout)  # type: ignore[call-overload]
        self._forward: Callable[..., Outputs] = compiled(self.network, device) if training.compile else self.network
        self._loss = build_loss(settings)
        self.optimizer = _optimizer(self.network, settings)
        self._autocast_dtype = autocast_dtype(training.precision, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._autocast_dtype == torch.float16)

    def fit(self, progress: Progress = SILENT) -> Row:
        """Trains to the end; returns the last row of metrics."""
        settings, training = self.config.pretrain, self.config.train
        first = self._resume()
        batches = training_batches(
            self.table,
            batch_size=settings.batch_size,
            seed=training.seed,
            workers=training.workers,
            worker_start=training.worker_start,
            first=first,
            last=self.total_steps,
        )
        row: Row = {}
        with (
            progress.stage("pretraining", self.total_steps, "steps") as advance,
            logbook(self.run, first=first, writes=True) as log,
        ):
            advance(first)
            clock = Clock()
            for step in range(first, self.total_steps):
                done = step + 1
                with clock.waiting():
                    patches = next(batches).patches
                logged = done % training.log_every == 0 or done == self.total_steps
                found = self.step(step, patches, logged=logged)
                clock.count(len(patches))
                advance(1)
                if found is not None:
                    row = found
                    log(
                        {"step": done, "epoch": step // self.steps_per_epoch + 1, "part": "train", **row, **clock.row()}
                    )
                if done % training.checkpoint_every == 0 and done < self.total_steps:
                    self.run.save_state({"step": done, **self.state_dict()})
        return row

    def step(self, step: int, patches: Tensor, *, logged: bool) -> Row | None:
        """One optimiser step on patches uint8 (B, S, S, 3).

        Returns:
            Loss, `feature_spread`, standard deviation of the projections (target: 1) and learning rate; None unless
            `logged`.

        Raises:
            TrainingError: If the loss is not finite; checked where `logged`.
        """
        settings = self.config.pretrain
        self.network.train()
        set_rate(self.optimizer, rate_factor(step, self.total_steps, settings.warmup))
        seed = step_seed(self.config.train.seed, step)
        draws = Draws(torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)  # drop-path draws from the global generator
        images = to_images(patches, self.device)
        with autocast(self.device, self._autocast_dtype):
            one, other = (self._forward(self.view(images, draws)) for _ in range(2))
        loss = self._loss(one.projected.float(), other.projected.float())
        self._scaler.scale(loss).backward()
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if not logged:
            return None
        row = {
            "loss": float(loss.detach()),
            "feature_std": float(feature_spread(one.features.detach())),
            "projected_std": float(one.projected.detach().float().std(dim=0).mean()),
        }
        if not all(map(math.isfinite, row.values())):
            raise TrainingError(f"step {step + 1}: the loss is not finite; lower pretrain.learning_rate")
        return row | {"learning_rate": self.optimizer.param_groups[0]["lr"]}

    def view(self, images: Tensor, draws: Draws) -> Tensor:
        """A randomly turned, cropped and recoloured view of each patch of (B, 3, S, S)."""
        views, fixed = self.config.pretrain.views, self.network.encoder.fixed_size_px
        side = min(views.px, images.shape[-1]) if fixed is None else fixed[0]
        turned = flipped(images, draws.below(VIEWS, len(images)))
        return recoloured(cropped(turned, views.crop, side, draws), views, draws)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a `state_dict`.

        Raises:
            TrainingError: If it is of another network, or not such a state.
        """
        with restoring("state of pretraining"):
            check_network(self.network.state_dict(), state["network"])
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])

    def _resume(self) -> int:
        """The first step to run."""
        state = self.run.load_state()
        return 0 if state is None else self.run.resumed(state, self.load_state_dict, self.total_steps)


def _optimizer(network: nn.Module, settings: PretrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices, not on norms and biases."""
    groups = [
        {
            "params": [parameter for parameter in network.parameters() if (parameter.ndim > 1) == is_matrix],
            "peak": settings.learning_rate,
            "weight_decay": settings.weight_decay if is_matrix else 0.0,
        }
        for is_matrix in (True, False)
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)
