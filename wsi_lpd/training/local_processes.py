"""Other processes on this machine, started by the first: on processors two small ones do more than one with threads."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from wsi_lpd.errors import PeerError, TrainingError, WsiLpdError

logger = logging.getLogger(__name__)

_PATIENCE_S = 60.0


@contextmanager
def extra_processes(count: int, work: Callable[[], object]) -> Iterator[None]:
    """Runs `work` in `count - 1` new processes while the block runs here; all of them are one `torchrun` to `joined`.

    Nothing is started for a count of 1, or where torchrun has started this process. Threads of torch are shared out.

    Args:
        count: Processes in all.
        work: What the others do; it is pickled (the child processes are spawned).

    Raises:
        TrainingError: If a companion ends badly without a word.
    """
    if count == 1 or "WORLD_SIZE" in os.environ:
        yield
        return
    threads = torch.get_num_threads()
    share = max(1, threads // count)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
    spawn = multiprocessing.get_context("spawn")
    others = [
        spawn.Process(target=_extra_process, args=(work, place | _ranked(rank), share)) for rank in range(1, count)
    ]
    for process in others:
        process.start()
    torch.set_num_threads(share)
    os.environ.update(place | _ranked(0))
    try:
        yield
    finally:
        for name in (*place, *_ranked(0)):
            os.environ.pop(name, None)
        torch.set_num_threads(threads)
        for process in others:
            process.join(_PATIENCE_S)
            if process.is_alive():
                process.terminate()
    if failed := [process.exitcode for process in others if process.exitcode != 0]:
        raise TrainingError(f"{len(failed)} of {count} processes ended with exit status {failed[0]}")


def _extra_process(work: Callable[[], object], place: dict[str, str], threads: int) -> None:
    os.environ.update(place)
    torch.set_num_threads(threads)
    try:
        work()
    except PeerError:
        raise SystemExit(1) from None
    except WsiLpdError as err:
        logger.error("%s", err)
        raise SystemExit(1) from None


def _ranked(rank: int) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
