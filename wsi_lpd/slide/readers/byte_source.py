"""Where the bytes of a slide come from: a local file, or one at a URL."""

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
        RemoteError: If a remote one cannot be opened, or not be read in parts.
    """
    return RemoteFile(location) if is_remote(location) else LocalFile(location)


class LocalFile:
    """A local file, open for reading; safe for several threads."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._descriptor = os.open(location, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._seeking = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """Its size."""
        return os.fstat(self._descriptor).st_size

    def for_tifffile(self) -> str:
        """What tifffile opens."""
        return self._location

    def head(self, count: int) -> bytes:
        """Its first bytes; fewer, where there are no more."""
        return self.read(0, min(count, self.n_bytes))

    def read(self, offset: int, count: int) -> bytes:
        """A part of it.

        Raises:
            OSError: If the file ends before the part does, too.
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
        """Several parts; see `read`."""
        return [self.read(*span) for span in spans]

    def close(self) -> None:
        """Gives the file handle back."""
        os.close(self._descriptor)


ByteSource: TypeAlias = LocalFile | RemoteFile
