"""One step of training, on one batch: what is drawn, what is minimised, what is updated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import record_function

from wsi_lpd.config import Config
from wsi_lpd.errors import TrainingError
from wsi_lpd.methods.base import Losses, Method, Place, Step
from wsi_lpd.methods.choose import build_method
from wsi_lpd.models.device import autocast, autocast_dtype, to_images
from wsi_lpd.models.network import MOSAIC_SIDE, LpdNetwork, NetworkOutput, TissueNetwork
from wsi_lpd.models.saved.load import network_for
from wsi_lpd.models.views import VIEWS
from wsi_lpd.training.average import AveragedNetwork, detached
from wsi_lpd.training.data.augment import Draws, flipped, recoloured
from wsi_lpd.training.data.batches import Batch
from wsi_lpd.training.data.features import FeatureCache, MapsOf
from wsi_lpd.training.modes import compiled
from wsi_lpd.training.optimizer import build_optimizer, rate_factor, set_rate
from wsi_lpd.training.processes import ALONE, Processes, synchronised
from wsi_lpd.training.run.state import check_network, restoring

Row = dict[str, float]


class Objective(nn.Module):
    """From a step to its loss terms: what is made parallel, since methods use parameters beside those of a forward."""

    def __init__(self, network: TissueNetwork, method: Method) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, step: Step) -> dict[str, Tensor]:
        """The terms of `method.losses`."""
        return dict(self.method.losses(step).terms)


class Learner:
    """Network, averaged weights and optimiser; every random number is a function of the seed and the step.

    Args:
        config: The configuration.
        class_names: Names of the classes, in the order of the labels.
        positive_weights: Weight of a positive per class, (C,).
        device: Where all of it lives.
        patches: Gives all training patches in the order of the table, anew at every call.
        processes: With several, each has a learner, and all of them stay the same to the bit.
        mask_weights: Weight of each pseudo mask of a patch, for a decoder.
    """

    def __init__(
        self,
        config: Config,
        *,
        class_names: Sequence[str],
        positive_weights: Tensor,
        device: torch.device,
        patches: Callable[[], Iterable[Batch]] = tuple,
        processes: Processes = ALONE,
        mask_weights: tuple[float, ...] = Method.mask_weights,
    ) -> None:
        settings = config.train
        self.config = config
        self.device = device
        self.processes = processes
        self._patches = patches
        self.positive_weights = positive_weights.to(device)
        torch.manual_seed(settings.seed)
        network = network_for(config, n_classes=len(class_names))
        synchronised(network, device, processes)
        layout = torch.channels_last if settings.channels_last else torch.preserve_format
        self.network: TissueNetwork = network.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.average = AveragedNetwork(self.network, decay=settings.ema_decay)
        self.method = build_method(config, class_names, mask_weights=mask_weights)
        self._student: Callable[..., NetworkOutput] = self.network
        self._teacher: Callable[..., NetworkOutput] = self.average.network
        if settings.compile:
            self._student = compiled(self.network, device)
            self._teacher = compiled(self.average.network, device)
        self.objective: nn.Module = Objective(self.network, self.method)
        if processes.count > 1:
            self.objective = _parallel(self.objective)
        self.optimizer = build_optimizer(self.network, config, decays_everything=self.method.decays_everything)
        self.features: FeatureCache | None = None
        self.autocast_dtype = autocast_dtype(settings.precision, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.autocast_dtype == torch.float16)

    def prepare(self) -> None:
        """Lets the method look at the patches before the first step."""
        if isinstance(self.network, LpdNetwork):
            self.method.prepare(self.network, self._all_patches())
            self._vectors_moved()

    def step(
        self, place: Place, batch: Sequence[Batch], *, logged: bool, rows: Sequence[Sequence[int]] | None = None
    ) -> Row | None:
        """One optimiser step.

        Args:
            place: Where in the training it is.
            batch: Patches and labels of each forward pass, this process's share.
            rows: Where `features` keeps these patches.
            logged: Whether numbers are wanted; only then does the host wait for the device.

        Returns:
            Loss terms as means over forward passes and processes, and the learning rate; None where not wanted.

        Raises:
            TrainingError: If the loss is not finite; looked at where `logged`.
        """
        settings = self.config.train
        self.network.train()
        set_rate(self.optimizer, rate_factor(place.index, place.total, settings.warmup))
        seed = step_seed(settings.seed, place.index)
        draws = Draws(torch.Generator().manual_seed(seed), self.processes)
        # Drop-path draws from the global generator, other numbers in every process.
        torch.manual_seed(seed * self.processes.count + self.processes.rank)
        losses_of_parts: list[Losses] = []
        ratio: Tensor | None = None
        for i, part in enumerate(batch):
            kept = None if rows is None else rows[i]
            step = self._laid_out(part, draws, place.index / place.total, kept)
            if i == 0 and self.method.rearranges(place):
                self._rearrange(step, place)
            with self._exchange(last=i == len(batch) - 1):
                with record_function("forward"):
                    losses = Losses(self.objective(step))
                if logged:
                    losses_of_parts.append(Losses({name: term.detach() for name, term in losses.terms.items()}))
                    if i == 0 and "diversity" in losses.terms:
                        ratio = self._gradient_ratio(losses)
                with record_function("backward"):
                    self._scaler.scale(losses.total / len(batch)).backward()  # type: ignore[no-untyped-call]
        with record_function("update"):
            self._update()
        return self._row(place, losses_of_parts, ratio) if logged else None

    def state_dict(self) -> dict[str, Any]:
        """Everything that a step depends on."""
        return {
            "encoder": self.network.encoder.weights,
            "network": detached(self.network.learnt_state()),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict`.

        Raises:
            TrainingError: If it is of another network, or no such state.
        """
        with restoring("training state of wsi-lpd"):
            check_network(self.network.learnt_state(), state["network"])
            here = self.network.encoder.weights
            if state["encoder"] != here:
                raise TrainingError(f"began with other encoder weights: {state['encoder']}, now {here}")
            self.network.load_state_dict(state["network"], strict=not self.network.frozen)
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])

    def _laid_out(self, batch: Batch, draws: Draws, progress: float, rows: Sequence[int] | None = None) -> Step:
        images = to_images(batch.patches, self.device)
        codes = draws.below(VIEWS, len(images)) if self.config.augment.flips else [0] * len(images)
        images = flipped(images, codes)
        masks, confidence = (
            None if part is None else flipped(part.to(self.device, non_blocking=True), codes)
            for part in (batch.masks, batch.confidence)
        )
        mosaic = self._mosaic(images, draws)
        changed = recoloured(images, self.config.augment, draws)
        maps = self._frozen_maps(changed, mosaic, codes, rows)
        return Step(
            images=changed,
            clean=images,
            labels=batch.labels.to(self.device, non_blocking=True),
            positive_weights=self.positive_weights,
            progress=progress,
            network=cast("LpdNetwork", self.network),  # the methods that look at it are those of prototypes
            student=lambda seen: self._seen_by(self._student, seen, mosaic, maps),
            teacher=lambda seen: self._seen_by_average(seen, mosaic, maps),
            patches=self._all_patches,
            masks=masks,
            confidence=None if confidence is None else confidence.float() / 255,
        )

    def _all_patches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self._patches():
            yield to_images(batch.patches, self.device), batch.labels.to(self.device)

    def _frozen_maps(
        self, images: Tensor, mosaic: int, codes: Sequence[int], rows: Sequence[int] | None
    ) -> MapsOf | None:
        """What a frozen encoder says of a step's images: cached, or computed once for student and teacher."""
        if not self.network.frozen:
            return None
        if self.features is not None and rows is not None:
            return MapsOf(images, self.features.read(rows, codes, device=self.device))
        with autocast(self.device, self.autocast_dtype):
            return MapsOf(images, self.network.maps(images, mosaic=mosaic))

    def _rearrange(self, step: Step, place: Place) -> None:
        """Every process sees the whole batch; the first one's result counts, should they differ in a last bit."""
        of_all = self.processes.gathered
        whole = replace(step, images=of_all(step.images), clean=of_all(step.clean), labels=of_all(step.labels))
        if self.processes.from_first(self.method.rearrange(whole, place)):
            self._vectors_moved()

    def _vectors_moved(self) -> None:
        """What was learnt about the old prototypes is dropped: their average and their momentum."""
        for vectors, averaged in zip(self.network.vectors(), self.average.network.vectors(), strict=True):
            with torch.no_grad():
                self.processes.copy_first(vectors)
                averaged.copy_(vectors)
            self.optimizer.state.pop(vectors, None)

    def _seen_by(
        self, network: Callable[..., NetworkOutput], images: Tensor, mosaic: int, frozen_maps: MapsOf | None
    ) -> NetworkOutput:
        maps = frozen_maps.maps if frozen_maps is not None and images is frozen_maps.images else None
        with autocast(self.device, self.autocast_dtype):
            return network(images, mosaic=mosaic, maps=maps)

    def _seen_by_average(self, images: Tensor, mosaic: int, frozen_maps: MapsOf | None) -> NetworkOutput:
        with torch.no_grad():
            return self._seen_by(self._teacher, images, mosaic, frozen_maps)

    def _mosaic(self, images: Tensor, draws: Draws) -> int:
        """Patches side by side in this step: two in the configured share of steps, if the batch can be laid out so.

        A patch must be a whole number of the encoder's cells, or its maps could not be taken apart.
        """
        fills = len(images) % MOSAIC_SIDE**2 == 0 and images.shape[-1] % self.network.encoder.cell_px == 0
        return MOSAIC_SIDE if draws.one() < self.config.augment.mosaic and fills else 1

    def _exchange(self, *, last: bool) -> AbstractContextManager[None]:
        """Gradients of several forward passes travel once, with the last."""
        if last or not isinstance(self.objective, DistributedDataParallel):
            return nullcontext()
        return self.objective.no_sync()

    def _update(self) -> None:
        self._scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.train.clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.processes.average(_statistics(self.network))
        self.average.update(self.network)

    def _gradient_ratio(self, losses: Losses) -> Tensor:
        """Norm of the diversity term's gradient on the prototypes over that of the classification loss, a scalar."""
        assert isinstance(self.network, LpdNetwork)
        vectors = self.network.prototypes.vectors
        gradients = [
            torch.autograd.grad(losses.terms[name], vectors, retain_graph=True)[0]
            for name in ("diversity", "classification")
        ]
        self.processes.average(gradients)
        ratio: Tensor = gradients[0].norm() / gradients[1].norm().clamp(min=1e-12)
        return ratio

    def _row(self, place: Place, parts: Sequence[Losses], ratio: Tensor | None) -> Row:
        """Waits for the device."""
        names = [*parts[0].terms, "loss"]
        means = torch.stack([torch.stack([*losses.terms.values(), losses.total]) for losses in parts]).mean(0)
        self.processes.average([means])
        row = dict(zip(names, means.tolist(), strict=True))
        if not torch.isfinite(means).all():
            raise TrainingError(f"step {place.index + 1}: the loss is not finite; lower train.learning_rate")
        if ratio is not None:
            row["diversity_gradient_ratio"] = float(ratio)
        return row | {"learning_rate": self.optimizer.param_groups[0]["lr"]}


def _parallel(objective: nn.Module) -> nn.Module:
    """Gradients averaged over processes while they are made; statistics are looked after by `_update`."""
    # Newer versions of torch (2.15 has both) call the option by the first name and warn of the second.
    names = inspect.signature(DistributedDataParallel).parameters
    statistics = {"forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers": False}
    # The refiner has no part in the warm-up: its parameters are unused until then.
    return DistributedDataParallel(objective, find_unused_parameters=True, **statistics)  # type: ignore[arg-type]


def _statistics(network: TissueNetwork) -> list[Tensor]:
    """Running means and variances of batch norms, which every process counts over its own share."""
    tensors = network.learnt_state().values()
    return [value for value in tensors if not isinstance(value, nn.Parameter) and value.is_floating_point()]


def step_seed(seed: int, step: int) -> int:
    """Of the random numbers of one step."""
    return (seed * 1_000_003 + step) % 2**48
