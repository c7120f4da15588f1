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

from wsi_lpd.errors import SlideError, one_line

Span: TypeAlias = tuple[int, int]
"""First byte and number of bytes."""

PAUSES_S: Final = (0.5, 1.0, 2.0)
"""Pauses before the retries of a failed request."""

BLOCK_BYTES: Final = 512 * 2**10
"""Smallest read of a stream: large enough to fetch directories in a few requests, far smaller than a slide."""

_KEPT_BLOCKS: Final = 32
_MERGED_GAP_BYTES: Final = 64 * 2**10
"""Spans with a smaller gap are fetched together: about three tiles, which cost less than another request."""
_MERGED_BYTES: Final = 8 * 2**20
"""Largest merged span: what is fetched again if a request fails."""

_log = logging.getLogger(__name__)


class RemoteError(SlideError):
    """A slide at a URL cannot be reached or read; no other reader could do better."""


class RemoteFile:
    """A file at a URL; thread-safe; every read is a separate request.

    Attributes:
        n_bytes: Size of the file.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._system, self._path = _file_system(location)
        # Only asynchronous file systems support several threads; for the others a lock serialises the requests.
        self._turn: contextlib.AbstractContextManager[Any] = (
            contextlib.nullcontext() if self._system.async_impl else threading.Lock()
        )
        self._blocks: dict[int, bytes] = {}
        self._keeping = threading.Lock()
        self.n_bytes = self._size()

    def for_tifffile(self) -> BinaryIO:
        """A `RemoteStream` of the file; all streams share the most recently read blocks."""
        return cast(BinaryIO, RemoteStream(self))

    def head(self, count: int) -> bytes:
        """The first bytes, at most one block; fewer if the file is shorter."""
        return self.blocks([0])[0][:count]

    def read_all(self, spans: Sequence[Span]) -> list[bytes]:
        """Several parts, requested together so that the latency of the server counts only once.

        Raises:
            RemoteError: If a part lies beyond the end of the file, or cannot be fetched after several retries.
        """
        if not spans:
            return []
        end = max(offset + count for offset, count in spans)
        if end > self.n_bytes:
            raise RemoteError(
                f"{self._location}: is truncated: has {self.n_bytes} bytes, expected {end}; upload it again"
            )
        requests = merged(spans)
        answers = self._answers(requests)
        return [_part(span, requests, answers) for span in spans]

    def blocks(self, numbers: Sequence[int]) -> list[bytes]:
        """Blocks of the file by number; the most recently used ones are cached.

        Raises:
            RemoteError: See `read_all`.
        """
        with self._keeping:
            missing = [number for number in numbers if number not in self._blocks]
            starts = [number * BLOCK_BYTES for number in missing]
            came = self.read_all([(start, min(BLOCK_BYTES, self.n_bytes - start)) for start in starts])
            self._blocks.update(zip(missing, came, strict=True))
            for number in numbers:  # these are evicted last
                self._blocks[number] = self._blocks.pop(number)
            found = [self._blocks[number] for number in numbers]
            for number in list(self._blocks)[:-_KEPT_BLOCKS]:
                del self._blocks[number]
        return found

    def close(self) -> None:
        """Drops the cached blocks; fsspec keeps the connection for the next slide."""
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
                    what = f"{len(answer)} bytes received" if isinstance(answer, bytes) else one_line(answer)
                    reason = f"{what}, expected {request[1]} bytes from byte {request[0]} on"
            if len(came) == len(requests):
                return [came[request] for request in requests]
            _log.debug("%s: %s", self._location, reason)
        raise RemoteError(
            f"{self._location}: cannot be read any further ({reason}, {1 + len(PAUSES_S)} attempts); "
            "check the network and the server and run the command again, or download the slide"
        )

    def _asked(self, requests: Sequence[Span]) -> Sequence[bytes | BaseException]:
        starts, ends = [offset for offset, _ in requests], [offset + count for offset, count in requests]
        try:
            with self._turn:
                answers: Sequence[bytes | BaseException] = self._system.cat_ranges(
                    [self._path] * len(requests), starts, ends, on_error="return"
                )
        except Exception as err:  # each protocol has its own library with its own errors
            return [err] * len(requests)
        return answers

    def _size(self) -> int:
        """Size of the file, from an fsspec file object.

        Its last byte is read as well: some servers answer a range request with the whole file, and only the file object
        notices this before downloading it.
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
                    f"{self._location}: its server sends whole files only; expected support of range requests; "
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
        """See `io.RawIOBase`; reads as much as there is."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._file.n_bytes - self._position))
        first, end = self._position // BLOCK_BYTES, -(-(self._position + count) // BLOCK_BYTES)
        data = b"".join(self._file.blocks(range(first, end)))
        start = self._position - first * BLOCK_BYTES
        view[:count] = data[start : start + count]
        self._position += count
        return count


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in ascending order, merged where the gap between them is small."""
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
            f"{location}: the package for this protocol is not installed ({one_line(err)}); "
            "pip install 'wsi-lpd[remote]' adds https:// and s3://"
        ) from err
    except Exception as err:  # for example options that the protocol's library does not accept
        raise RemoteError(
            f"{location}: {one_line(err)}; expected https://, s3:// or another protocol of fsspec"
        ) from err
    return system, str(path)


def _refusal(err: Exception) -> str:
    """Why a file cannot be opened; fsspec's HTTP reports any failure as a missing file, with the cause attached."""
    cause = err.__cause__
    if isinstance(err, FileNotFoundError) and (
        cause is None or isinstance(cause, LookupError) or getattr(cause, "status", None) == 404
    ):
        return "no such file; check the address"
    reason = err if cause is None else cause
    return f"cannot be opened ({one_line(reason)}); check the address, the network and your permission to read it"
