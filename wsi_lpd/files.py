"""Atomic writes: a file is either replaced completely or left as it was."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success the file written there replaces `path`.

    The temporary name keeps all suffixes of `path`, since writers choose a format by them. If the block raises, the
    temporary file is removed and `path` stays as it was. Parent folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Removes temporary files that killed processes left behind; no other process may be writing `path`."""
    named = re.compile(rf"\.[0-9a-f]{{8}}\.{re.escape(path.name)}")
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if named.fullmatch(other.name):
                other.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def add_file(folder: Path, name: str, parts: Iterable[bytes], *, is_ours: Callable[[], bool]) -> bool:
    """Adds a file atomically to a folder that other processes may also fill, or may have restarted for another job.

    The temporary file is inside `folder` when `is_ours` is called. If the folder is replaced after that, the file goes
    away with the old folder and never reaches the new one; a folder that was removed is not created again.

    Args:
        folder: Existing folder.
        name: Path of the file inside it; folders in between are created.
        parts: Content, piece by piece, so that it need not be held twice.
        is_ours: Whether the folder still belongs to this job.

    Returns:
        What `is_ours` returned; if False, nothing was added.

    Raises:
        OSError: If the folder no longer exists or the file cannot be written.
    """
    path = folder / name
    temporary = folder / f".{uuid.uuid4().hex[:8]}.{path.name}"
    try:
        with temporary.open("xb") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        if not is_ours():
            return False
        for between in reversed(Path(name).parents[:-1]):
            (folder / between).mkdir(exist_ok=True)
        temporary.replace(path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a file or a folder tree, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
