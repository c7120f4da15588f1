"""What each process opens for itself: file handles do not survive a fork or a pickle."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Handle = TypeVar("Handle")


class PerProcess(Generic[Handle]):
    """A file handle that is opened once per process, and stays behind when its owner is pickled.

    Handles hold locks, caches and file positions that a fork would share or leave locked for ever, so a child
    never touches, nor even closes, what its parent opened.
    """

    def __init__(self, open_handle: Callable[[], Handle]) -> None:
        self._open_handle = open_handle
        self._handles: dict[int, Handle] = {}

    def get(self) -> Handle:
        """This process's handle; when two threads come at once, both get the one that was entered first."""
        handle = self._handles.get(os.getpid())
        return self._handles.setdefault(os.getpid(), self._open_handle()) if handle is None else handle

    def replace(self, dead: Handle, fresh: Handle) -> None:
        """Puts `fresh` in the place of `dead`, unless another thread did so already."""
        if self._handles.get(os.getpid()) is dead:
            self._handles[os.getpid()] = fresh

    def pop(self) -> Handle | None:
        """Forgets and returns this process's handle."""
        return self._handles.pop(os.getpid(), None)

    def __getstate__(self) -> dict[str, Any]:
        return {"_open_handle": self._open_handle, "_handles": {}}
