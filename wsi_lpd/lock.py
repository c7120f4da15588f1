"""One writer per output: a lock file that names the writer and is taken over once that writer is dead."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wsi_lpd.errors import BusyError

STALE_S = 900.0
"""A lock of another machine that was not renewed for this long is stale; a working writer renews its lock."""

NAMELESS_S = 10.0
"""A lock file without its owner's name is stale after this time."""

RENEW_S = 60.0
"""Renewal interval of `kept_locked`."""

_POLL_S = 0.2


@contextmanager
def locked(path: Path, *, wait_s: float = 0.0) -> Iterator[Callable[[], None]]:
    """Holds the write lock of `path`, and yields a function that renews it during long work.

    The lock is the file `<path>.lock`, which names the process and its host. It is taken over once that process is
    dead or, for another host, once it was not renewed for `STALE_S`.

    Args:
        path: The output to be written.
        wait_s: How long to wait for another process to release the lock.

    Raises:
        BusyError: If another process holds it.
    """
    lock = path.with_name(path.name + ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "started": _process_start(os.getpid())}
    mine["token"] = uuid.uuid4().hex
    _wait_for(lock, json.dumps(mine), path, wait_s)
    try:
        yield lambda: os.utime(lock)
    finally:
        if _holder(lock) == mine:
            lock.unlink(missing_ok=True)


@contextmanager
def kept_locked(path: Path) -> Iterator[None]:
    """As `locked`, for a process that waits while others write on its behalf: a thread renews the lock.

    Raises:
        BusyError: If another process holds it.
    """
    ended = threading.Event()

    def keep(renew: Callable[[], None]) -> None:
        while not ended.wait(RENEW_S):
            with suppress(OSError):  # try again next time
                renew()

    with locked(path) as renew:
        thread = threading.Thread(target=keep, args=(renew,), name="lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _wait_for(lock: Path, text: str, path: Path, wait_s: float) -> None:
    end = time.monotonic() + wait_s
    while True:
        try:
            return _take(lock, text, path)
        except BusyError:
            if time.monotonic() >= end:
                raise
            time.sleep(_POLL_S)


def _take(lock: Path, text: str, path: Path) -> None:
    for _ in range(3):
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            holder = _holder(lock)
            if not _is_stale(lock, holder):
                raise BusyError(_held_message(path, lock, holder)) from None
            _set_aside(lock, holder)
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        return
    raise BusyError(f"{path}: several processes compete for its lock {lock.name}; try again")


def _set_aside(lock: Path, holder: dict[str, Any] | None) -> None:
    """Removes the stale lock, unless another process has replaced it in the meantime."""
    aside = lock.with_name(f".{uuid.uuid4().hex[:8]}.{lock.name}")
    try:
        lock.rename(aside)
    except FileNotFoundError:
        return
    if _holder(aside) != holder and not lock.exists():
        aside.rename(lock)
    aside.unlink(missing_ok=True)


def _holder(lock: Path) -> dict[str, Any] | None:
    try:
        tree = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tree if isinstance(tree, dict) and isinstance(tree.get("pid"), int) else None


def _is_stale(lock: Path, holder: dict[str, Any] | None) -> bool:
    try:
        age_s = time.time() - lock.stat().st_mtime
    except FileNotFoundError:
        return True
    if holder is None:  # Its owner is about to write its name, or died before it could do so.
        return age_s > NAMELESS_S
    if holder.get("host") != socket.gethostname():
        return age_s > STALE_S
    if not _is_alive(holder["pid"]):
        return True
    # Process ids are reused, quickly so in containers; the start time distinguishes the processes.
    return bool(_process_start(holder["pid"]) != holder.get("started"))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It is alive and belongs to another user.
    return True


def _process_start(pid: int) -> int | None:
    """Start of a process in clock ticks since boot, or None on systems without /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _held_message(path: Path, lock: Path, holder: dict[str, Any] | None) -> str:
    who = "another process" if holder is None else f"process {holder['pid']} on {holder.get('host')}"
    return f"{path}: {who} is writing it; wait until it has finished, or remove {lock.name} if that process is gone"
