"""Several processes that train one network: who is who, how they agree, and how they end together.

They are started by `torchrun`, or anything else that sets RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
Without these there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from wsi_lpd.errors import PeerError, TrainingError

T = TypeVar("T")

_LONGEST_WAIT = timedelta(hours=12)
"""The others wait while the first process validates and writes; torch's own limit is 10 to 30 minutes."""
_FAILED = "failed"
_FINISHED = "finished"


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0; the first alone writes, logs and validates.
        count: How many there are.
        local_rank: Its number on this machine, which is also the number of its GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, logs and validates."""
        return self.rank == 0

    def device_name(self, name: str) -> str:
        """The `--device` of this process: with several, each takes the GPU of its local rank.

        Raises:
            TrainingError: If the machine has too few GPUs, or one was named for all.
        """
        if self.count == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return name if self.count == 1 else "cpu"
        if name not in ("auto", "cuda"):
            raise TrainingError(
                f"--device {name} with {self.count} processes: each needs one of its own; expected auto, cuda or cpu"
            )
        if self.local_rank >= torch.cuda.device_count():
            raise TrainingError(
                f"process {self.local_rank} of this machine has no GPU, it has {torch.cuda.device_count()}; "
                "start as many processes as there are GPUs, or give --device cpu"
            )
        return f"cuda:{self.local_rank}"

    def from_first(self, value: T) -> T:
        """The first process's value, in every process."""
        if self.count == 1:
            return value
        box: list[T | None] = [value if self.is_first else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def gathered(self, values: Tensor) -> Tensor:
        """The values of all processes one after another along the first axis; all must have one shape."""
        if self.count == 1:
            return values
        parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def copy_first(self, values: Tensor) -> None:
        """Overwrites `values` with those of the first process."""
        if self.count > 1:
            dist.broadcast(values, src=0)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites floating-point tensors with their mean over all processes, in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().flatten().float() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, part in zip(tensors, torch.split(flat, sizes), strict=True):
            tensor.detach().copy_(part.view_as(tensor))


ALONE = Processes()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Joins the other processes for the length of the block; at its end they wait for the first.

    Within a block of the same process, or where the caller has set up torch.distributed, it only says who is who.

    Args:
        device: As for `train`; decides by which means the processes speak.

    Raises:
        PeerError: If another process failed, and has told why.
        TrainingError: If another process is gone without a word, or the environment is incomplete.
    """
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
        return
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    processes, store = _join(device)
    try:
        yield processes
    except BaseException as err:
        first = _is_first_to_fail(store, processes)
        if dist.get_backend() == "gloo":  # the end of others may wait for GPU work that never ends
            dist.destroy_process_group()
        if not first:
            raise PeerError("another process of this training failed and printed the reason") from err
        if _is_broken_line(err):
            raise TrainingError(
                f"process {processes.rank} has lost another process, which ended without a word (out of memory?); "
                "run the same command again to go on"
            ) from err
        raise
    if processes.is_first:
        store.set(_FINISHED, "")
    else:
        store.wait([_FINISHED], _LONGEST_WAIT)
    dist.destroy_process_group()


def synchronised(network: nn.Module, device: torch.device, processes: Processes) -> None:
    """Makes the statistics of batch norms those of the whole batch; on CUDA alone, torch has no others."""
    if processes.count > 1 and device.type == "cuda":
        convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]


def _join(device: str) -> tuple[Processes, Store]:
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise TrainingError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; start the processes with "
            "torchrun, or unset WORLD_SIZE"
        )
    processes = Processes(
        int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), local_rank=int(os.environ["LOCAL_RANK"])
    )
    name = processes.device_name(device)
    if name != "cpu":
        torch.cuda.set_device(torch.device(name))
    store, rank, count = next(rendezvous("env://", timeout=timedelta(minutes=10)))
    dist.init_process_group(
        "gloo" if name == "cpu" else "cpu:gloo,cuda:nccl",
        store=PrefixStore("torch", store),
        rank=rank,
        world_size=count,
        timeout=_LONGEST_WAIT,
    )
    return processes, PrefixStore("wsi-lpd", store)


def _is_first_to_fail(store: Store, processes: Processes) -> bool:
    """Whether no other process failed before: the one with the cause speaks, those it tore down do not."""
    mine = str(processes.rank)
    try:
        return bool(store.compare_set(_FAILED, "", mine).decode() == mine)
    except RuntimeError:  # the process that keeps the store is gone
        return False


def _is_broken_line(err: BaseException) -> bool:
    return isinstance(err, dist.DistError) or (isinstance(err, RuntimeError) and "gloo" in str(err))
