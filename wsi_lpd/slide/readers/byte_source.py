"""The bytes of a slide: a local file, or one at a URL."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TypeAlias

from wsi_lpd.slide.readers.remote_file import RemoteFile, Span


def is_remote(location: str) -> bool:
    """Whether a location is a URL."""
    return "://" in location


def open_source(location: str) -> ByteSource:
    """The bytes of a file, by its path or URL.

    Raises:
        OSError: If a local file cannot be opened.
        RemoteError: If a remote file cannot be opened, or its server does not support range requests.
    """
    return RemoteFile(location) if is_remote(location) else LocalFile(location)


class LocalFile:
    """A local file, open for reading; thread-safe."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._descriptor = os.open(location, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._seeking = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return os.fstat(self._descriptor).st_size

    def for_tifffile(self) -> str:
        """The argument with which tifffile opens it."""
        return self._location

    def head(self, count: int) -> bytes:
        """The first bytes; fewer if the file is shorter."""
        return self.read(0, min(count, self.n_bytes))

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on.

        Raises:
            OSError: If the file cannot be read, or ends before.
        """
        if hasattr(os, "pread"):
            data = os.pread(self._descriptor, count, offset)
        else:
            with self._seeking:  # Windows
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                data = os.read(self._descriptor, count)
        if len(data) != count:
            raise OSError(f"{self._location}: holds {len(data)} bytes from byte {offset} on, expected {count}")
        return data

    def read_all(self, spans: Sequence[Span]) -> list[bytes]:
        """Several parts of the file; see `read`."""
        return [self.read(*span) for span in spans]

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


ByteSource: TypeAlias = LocalFile | RemoteFile
