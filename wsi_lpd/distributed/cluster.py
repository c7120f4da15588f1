"""Clusters: worker processes on this machine, or a running Dask cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster

from wsi_lpd.errors import ClusterError

_PATIENCE = "30s"
_RESTART_PATIENCE = "1h"
"""Dask's default gives a dead process 15 seconds to restart, which is too short on a busy machine."""


@dataclass(frozen=True)
class ClusterChoice:
    """The cluster to use: exactly one of the three is set.

    Attributes:
        workers: Number of local processes to start for this call.
        scheduler: Address of a running scheduler, such as `tcp://10.0.0.5:8786`.
        scheduler_file: File written by a running scheduler.
    """

    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None

    def threads_each(self) -> int:
        """Threads per task: an equal share of this machine's cores for local processes, else one."""
        return 1 if self.workers is None else max(1, (os.cpu_count() or 1) // self.workers)


@contextmanager
def connected(choice: ClusterChoice, *, n_gpus: int = 0) -> Iterator[Client]:
    """A client of the chosen cluster; local processes are stopped at the end of the block.

    Args:
        choice: The cluster.
        n_gpus: Number of GPUs of this machine; each local process is given one of them.

    Raises:
        ClusterError: If the scheduler does not answer.
    """
    _silence_dask()
    if choice.workers is not None:
        with (
            dask.config.set({"distributed.deploy.lost-worker-timeout": _RESTART_PATIENCE}),
            _local(choice.workers, choice.threads_each(), n_gpus) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    where = str(choice.scheduler if choice.scheduler_file is None else choice.scheduler_file)
    if choice.scheduler_file is not None and not choice.scheduler_file.is_file():  # Dask would wait for it for ever
        raise ClusterError(f"{where}: no such file; start `dask scheduler --scheduler-file {where}`, which writes it")
    try:
        client = (
            Client(choice.scheduler, timeout=_PATIENCE)
            if choice.scheduler_file is None
            else Client(scheduler_file=str(choice.scheduler_file), timeout=_PATIENCE)
        )
    except (OSError, ValueError, TimeoutError) as err:
        raise ClusterError(
            f"{where}: no Dask scheduler answers ({' '.join(str(err).split())[:200] or type(err).__name__}); "
            "start one with `dask scheduler`, and workers with `dask worker`"
        ) from err
    with client:
        yield client


def n_tasks_at_once(client: Client, choice: ClusterChoice) -> int:
    """Number of tasks that the cluster runs at a time with its current workers."""
    return sum(client.nthreads().values()) if choice.workers is None else choice.workers


def workers_are_alike(client: Client, kind: Callable[[], str]) -> bool:
    """Whether all current workers return the same value of `kind`, or fail with the same error."""
    return len(set(map(str, client.run(kind, on_error="return").values()))) <= 1


def _silence_dask() -> None:
    """Silences Dask's log of every connection; `outcomes` reports the errors of tasks."""
    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _local(workers: int, threads: int, n_gpus: int) -> SpecCluster:
    """One process per worker and one task at a time in each, so that a crash affects no other slide."""
    specification = {
        i: {
            "cls": Nanny,
            "options": {"nthreads": 1, "memory_limit": 0, "env": _environment(i, threads, n_gpus), "silence_logs": 40},
        }
        for i in range(workers)
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "port": 0}}
    return SpecCluster(workers=specification, scheduler=scheduler, silence_logs=40)


def _environment(worker: int, threads: int, n_gpus: int) -> dict[str, str]:
    variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    if n_gpus:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = seen.split(",") if seen else [str(i) for i in range(n_gpus)]
        variables["CUDA_VISIBLE_DEVICES"] = devices[worker % len(devices)]
    return variables
