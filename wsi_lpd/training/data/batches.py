"""Batches of patches, in an order that is a pure function of the seed and the epoch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wsi_lpd.errors import TrainingError
from wsi_lpd.labels.sources import LabelTable, read_patches
from wsi_lpd.stores.masks import MaskStore
from wsi_lpd.training.processes import ALONE, Processes


class Batch(NamedTuple):
    """Patches and what is known of them.

    Attributes:
        patches: RGB uint8 (B, S, S, 3).
        labels: int8 (B, C): 1 present, 0 absent, -1 not labelled.
        masks: Pseudo masks uint8 (B, M, S, S), or None where none are learnt from.
        confidence: How sure the first of them is, uint8 (B, S, S), 255 = 1; or None.
    """

    patches: Tensor
    labels: Tensor
    masks: Tensor | None = None
    confidence: Tensor | None = None


WorkerStart = Literal["auto", "fork", "spawn", "forkserver"]
"""How reading processes are started; `auto` is Python's own choice on this system."""


class PatchDataset(Dataset[Batch]):
    """Reads a whole batch at a time, so that one store is opened once per batch and not once per patch."""

    def __init__(self, table: LabelTable, pseudo_masks: MaskStore | None = None) -> None:
        self._table = table
        self._pseudo_masks = pseudo_masks

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        """Patches and labels of the given rows."""
        chosen = list(indices)
        patches = torch.from_numpy(read_patches(self._table, chosen))
        labels = torch.from_numpy(self._table.labels[chosen])
        if self._pseudo_masks is None:
            return Batch(patches, labels)
        masks = torch.from_numpy(self._pseudo_masks.read([self._table.sources[row] for row in chosen]))
        return Batch(patches, labels, masks[:, :-1], masks[:, -1])


def epoch_batches(count: int, batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Rows of every full batch of an epoch, shuffled; what does not fill a batch is left to other epochs."""
    order = np.random.default_rng((seed, epoch)).permutation(count)
    size = min(batch_size, count)
    return [order[i : i + size].tolist() for i in range(0, count - size + 1, size)]


def batches_per_epoch(count: int, batch_size: int, *, processes: Processes = ALONE) -> int:
    """How often all processes together find a full batch among `count` patches.

    Raises:
        TrainingError: If there are fewer patches than processes.
    """
    return count // _joint_size(count, batch_size, processes)


def training_batches(
    table: LabelTable,
    *,
    batch_size: int,
    seed: int,
    workers: int,
    first: int,
    last: int,
    worker_start: WorkerStart = "auto",
    processes: Processes = ALONE,
    pseudo_masks: MaskStore | None = None,
) -> Iterator[Batch]:
    """Batches number `first` to `last - 1`, counted over all epochs; a resumed run gets just those it misses.

    Args:
        table: Labelled patches.
        batch_size: Patches in the batch of one process.
        seed: Of the order.
        workers: Processes that read; 0 reads here.
        first: Number of the first batch.
        last: Number after the last one.
        worker_start: How they are started.
        processes: Several that train together share every joint batch out in their order: what they see is what one
            process sees whose batch is as large as theirs together.
        pseudo_masks: Of these patches, if they are wanted.

    Raises:
        TrainingError: If there are fewer patches than processes.
    """
    wanted = training_rows(len(table), batch_size=batch_size, seed=seed, first=first, last=last, processes=processes)
    return _loaded(table, wanted, min(workers, last - first), worker_start, pseudo_masks)


def training_rows(
    count: int, *, batch_size: int, seed: int, first: int, last: int, processes: Processes = ALONE
) -> Iterator[list[int]]:
    """Rows of the batches that `training_batches` gives, of a table of `count` patches.

    Raises:
        TrainingError: If there are fewer patches than processes.
    """
    joint = _joint_size(count, batch_size, processes)
    own = joint // processes.count
    per_epoch = count // joint

    def plan() -> Iterator[list[int]]:
        for epoch in range(first // per_epoch, -(-last // per_epoch)):
            for batch in epoch_batches(count, joint, seed=seed, epoch=epoch):
                yield batch[processes.rank * own :][:own]

    skipped = first % per_epoch
    return itertools.islice(plan(), skipped, skipped + last - first)


def ordered_batches(
    table: LabelTable, *, batch_size: int, workers: int, worker_start: WorkerStart = "auto"
) -> Iterator[Batch]:
    """Every row once, in order."""
    rows = list(range(len(table)))
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return _loaded(table, batches, min(workers, len(batches)), worker_start)


def _joint_size(count: int, batch_size: int, processes: Processes) -> int:
    """Patches in the batches of all processes together; less where there are not as many patches."""
    own = min(batch_size, count // processes.count)
    if own == 0:
        raise TrainingError(
            f"{count} patches are too few to train on in {processes.count} process(es); each needs one at least"
        )
    return own * processes.count


def _loaded(
    table: LabelTable,
    batches: Iterable[list[int]],
    workers: int,
    worker_start: WorkerStart,
    pseudo_masks: MaskStore | None = None,
) -> Iterator[Batch]:
    loader: DataLoader[Batch] = DataLoader(
        PatchDataset(table, pseudo_masks),
        sampler=batches,  # each "index" is a batch of rows
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=None if workers == 0 or worker_start == "auto" else worker_start,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)
