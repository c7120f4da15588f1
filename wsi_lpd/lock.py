"""One writer per output: a lock file that says who writes, and that outlives no writer."""

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
"""A lock of another machine that has not been renewed for so long is dead. The writer renews it as it works."""

NAMELESS_S = 10.0
"""A lock without its owner's name is dead after this time."""

RENEW_S = 60.0
"""How often one who only waits renews a lock."""

_POLL_S = 0.2


@contextmanager
def locked(path: Path, *, wait_s: float = 0.0) -> Iterator[Callable[[], None]]:
    """Holds the right to write `path`, and yields a function that renews it during long work.

    The lock is the file `<path>.lock` with process id and host. One whose process no longer lives (or, on another
    host, one not renewed for `STALE_S`) is taken over.

    Args:
        path: What is to be written.
        wait_s: How long to wait for another process to let go.

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
    """As `locked`, for one who waits while others write for it: a thread renews the lock.

    Raises:
        BusyError: If another process holds it.
    """
    ended = threading.Event()

    def keep(renew: Callable[[], None]) -> None:
        while not ended.wait(RENEW_S):
            with suppress(OSError):  # the next time may go better
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
    raise BusyError(f"{path}: other processes are fighting for its lock {lock.name}; try again")


def _set_aside(lock: Path, holder: dict[str, Any] | None) -> None:
    """Removes the stale lock, unless another process has replaced it since it was judged."""
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
    if holder is None:  # Its owner is about to write its name, or died before it could.
        return age_s > NAMELESS_S
    if holder.get("host") != socket.gethostname():
        return age_s > STALE_S
    if not _is_alive(holder["pid"]):
        return True
    # Process ids are used again, soon so in containers; the start time tells the processes apart.
    return bool(_process_start(holder["pid"]) != holder.get("started"))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It lives and belongs to somebody else.
    return True


def _process_start(pid: int) -> int | None:
    """Start of a process in clock ticks since boot, or None where the system does not tell (no /proc)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _held_message(path: Path, lock: Path, holder: dict[str, Any] | None) -> str:
    who = "another process" if holder is None else f"process {holder['pid']} on {holder.get('host')}"
    return f"{path}: {who} is writing it; wait for it, or remove {lock.name} if that process is gone"
