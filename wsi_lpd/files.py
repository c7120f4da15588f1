"""Writing files so that a good one is never replaced by half of a new one."""

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
    """Yields a temporary name beside `path`; on success what was written there takes the place of `path`.

    The temporary name keeps all suffixes of `path` (writers choose a format by them). If the block raises,
    the temporary file is removed and `path` stays as it was. Parent folders are made.
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
    """Removes the temporary files of `replacing` that killed processes have left; nobody else may be writing `path`."""
    named = re.compile(rf"\.[0-9a-f]{{8}}\.{re.escape(path.name)}")
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if named.fullmatch(other.name):
                other.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def add_file(folder: Path, name: str, parts: Iterable[bytes], *, is_ours: Callable[[], bool]) -> bool:
    """Adds a whole file to a folder that others may fill too, or may meanwhile have begun anew for something else.

    The temporary file lies in `folder` itself when `is_ours` is asked. A folder that takes its place after that does
    not hold the file, so nothing gets from one into the other; nor is a folder made that somebody has removed.

    Args:
        folder: Must be there.
        name: Place of the file in it; folders on the way are made.
        parts: All of it, piece by piece: nobody has to hold it a second time as a whole.
        is_ours: Whether the folder is still what the file is for.

    Returns:
        Whether it was; if not, nothing is added.

    Raises:
        OSError: If the folder is gone, or the file cannot be written.
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
    """Removes a file or a folder tree; a missing one is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
