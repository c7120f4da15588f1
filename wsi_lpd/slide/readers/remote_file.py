"""A file at a URL, read in byte ranges through fsspec."""

from __future__ import annotations

import bisect
import contextlib
import io
import logging
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, Final, TypeAlias, cast

from wsi_lpd.errors import SlideError

Span: TypeAlias = tuple[int, int]
"""The first byte and the number of bytes."""

PAUSES_S: Final = (0.5, 1.0, 2.0)
"""How long to wait before each new try of a request that failed."""

BLOCK_BYTES: Final = 512 * 2**10
"""What a stream reads at least: directories come in a few requests, and a slide of a gigabyte does not come whole."""

_KEPT_BLOCKS: Final = 32
_MERGED_GAP_BYTES: Final = 64 * 2**10
"""Bytes between two spans that come with them: about three tiles, cheaper than one more request."""
_MERGED_BYTES: Final = 8 * 2**20
"""Up to this size spans are merged: what has to come again when one request fails."""

_log = logging.getLogger(__name__)


class RemoteError(SlideError):
    """A slide at a URL cannot be reached or does not come as asked for; another reader would fare no better."""


class RemoteFile:
    """A file at a URL, safe for several threads of one process; every read is a request of its own.

    Attributes:
        n_bytes: Its size.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._system, self._path = _file_system(location)
        # Only asynchronous file systems are made for several threads; the others do one thing at a time anyway.
        self._turn: contextlib.AbstractContextManager[Any] = (
            contextlib.nullcontext() if self._system.async_impl else threading.Lock()
        )
        self._blocks: dict[int, bytes] = {}
        self._keeping = threading.Lock()
        self.n_bytes = self._size()

    def for_tifffile(self) -> BinaryIO:
        """A `RemoteStream` of it; all of them share the last few blocks that were read."""
        return cast(BinaryIO, RemoteStream(self))

    def head(self, count: int) -> bytes:
        """Its first bytes, at most a block of them; fewer, where there are no more."""
        return self.blocks([0])[0][:count]

    def read_all(self, spans: Sequence[Span]) -> list[bytes]:
        """Several parts, asked for together, so that the way to the server is waited for once.

        Raises:
            RemoteError: If one lies beyond the end, or does not come after several tries.
        """
        if not spans:
            return []
        end = max(offset + count for offset, count in spans)
        if end > self.n_bytes:
            raise RemoteError(
                f"{self._location}: is cut short: holds {self.n_bytes} bytes, expected {end}; copy it there again"
            )
        requests = merged(spans)
        answers = self._answers(requests)
        return [_part(span, requests, answers) for span in spans]

    def blocks(self, numbers: Sequence[int]) -> list[bytes]:
        """Blocks of the file by their numbers; the last ones that were asked for are kept.

        Raises:
            RemoteError: See `read_all`.
        """
        with self._keeping:
            missing = [number for number in numbers if number not in self._blocks]
            starts = [number * BLOCK_BYTES for number in missing]
            came = self.read_all([(start, min(BLOCK_BYTES, self.n_bytes - start)) for start in starts])
            self._blocks.update(zip(missing, came, strict=True))
            for number in numbers:  # the last to be forgotten
                self._blocks[number] = self._blocks.pop(number)
            found = [self._blocks[number] for number in numbers]
            for number in list(self._blocks)[:-_KEPT_BLOCKS]:
                del self._blocks[number]
        return found

    def close(self) -> None:
        """Forgets the blocks; fsspec keeps the connection, for the next slide as well."""
        with self._keeping:
            self._blocks.clear()

    def _answers(self, requests: Sequence[Span]) -> list[bytes]:
        came: dict[Span, bytes] = {}
        reason = ""
        for pause in (0.0, *PAUSES_S):
            time.sleep(pause)
            missing = [request for request in requests if request not in came]
            for request, answer in zip(missing, self._asked(missing), strict=True):
                if isinstance(answer, bytes) and len(answer) == request[1]:
                    came[request] = answer
                else:
                    what = f"{len(answer)} bytes came" if isinstance(answer, bytes) else _one_line(answer)
                    reason = f"{what} where {request[1]} bytes from byte {request[0]} on were asked for"
            if len(came) == len(requests):
                return [came[request] for request in requests]
            _log.debug("%s: %s", self._location, reason)
        raise RemoteError(
            f"{self._location}: stopped coming ({reason}, {1 + len(PAUSES_S)} times); "
            "check the network and the server and run again, or download the slide"
        )

    def _asked(self, requests: Sequence[Span]) -> Sequence[bytes | BaseException]:
        starts, ends = [offset for offset, _ in requests], [offset + count for offset, count in requests]
        try:
            with self._turn:
                answers: Sequence[bytes | BaseException] = self._system.cat_ranges(
                    [self._path] * len(requests), starts, ends, on_error="return"
                )
        except Exception as err:  # each protocol has a library of its own, with errors of its own
            return [err] * len(requests)
        return answers

    def _size(self) -> int:
        """The size, from a file object of fsspec.

        Its last byte is read as well: there are servers that send the whole file when they are asked for a part, and
        only the file object looks at the answer before it has come.
        """
        try:
            stream = self._system.open(self._path, "rb", cache_type="none")
        except Exception as err:  # as above
            raise RemoteError(f"{self._location}: {_refusal(err)}") from err
        with stream:
            try:
                n_bytes = int(stream.seek(0, io.SEEK_END))
                stream.seek(max(0, n_bytes - 1))
                stream.read(1)
            except ValueError as err:
                raise RemoteError(
                    f"{self._location}: its server sends whole files only, expected one that answers range requests; "
                    "download the slide"
                ) from err
            except Exception as err:  # as above
                raise RemoteError(f"{self._location}: {_refusal(err)}") from err
        if n_bytes == 0:
            raise RemoteError(f"{self._location}: is empty")
        return n_bytes


class RemoteStream(io.RawIOBase):
    """A remote file with a position, read in blocks; for one thread at a time."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        position = offset + (0, self._position, self._file.n_bytes)[whence]
        if position < 0:
            raise ValueError(f"position {position} lies before the start of the file")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`; as much as there is."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._file.n_bytes - self._position))
        first, end = self._position // BLOCK_BYTES, -(-(self._position + count) // BLOCK_BYTES)
        data = b"".join(self._file.blocks(range(first, end)))
        start = self._position - first * BLOCK_BYTES
        view[:count] = data[start : start + count]
        self._position += count
        return count


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in ascending order, those with a small gap between them made one."""
    requests: list[Span] = []
    for offset, count in sorted(set(spans)):
        start, length = requests[-1] if requests else (offset, 0)
        end = max(start + length, offset + count)
        if requests and offset <= start + length + _MERGED_GAP_BYTES and end - start <= _MERGED_BYTES:
            requests[-1] = (start, end - start)
        else:
            requests.append((offset, count))
    return requests


def _part(span: Span, requests: Sequence[Span], answers: Sequence[bytes]) -> bytes:
    offset, count = span
    which = bisect.bisect_right(requests, (offset, sys.maxsize)) - 1
    start = offset - requests[which][0]
    return answers[which][start : start + count]


def _file_system(location: str) -> tuple[Any, str]:
    import fsspec  # comes with tiffslide

    try:
        system, path = fsspec.core.url_to_fs(location)
    except ImportError as err:
        raise RemoteError(
            f"{location}: the package for its protocol is not installed ({_one_line(err)}); "
            "pip install 'wsi-lpd[remote]' brings those for https:// and s3://"
        ) from err
    except Exception as err:  # settings of the protocol that its library does not take, among others
        raise RemoteError(
            f"{location}: {_one_line(err)}; expected https://, s3:// or another protocol of fsspec"
        ) from err
    return system, str(path)


def _refusal(err: Exception) -> str:
    """Why a file cannot be opened; to fsspec's HTTP, whatever happens is a missing file, with the cause behind it."""
    cause = err.__cause__
    if isinstance(err, FileNotFoundError) and (
        cause is None or isinstance(cause, LookupError) or getattr(cause, "status", None) == 404
    ):
        return "no such file; check the address"
    reason = err if cause is None else cause
    return f"cannot be opened ({_one_line(reason)}); check the address, the network and whether you may read it"


def _one_line(err: BaseException) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__
