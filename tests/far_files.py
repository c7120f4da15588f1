"""Files at URLs for the tests: in fsspec's memory, and behind a web server that takes ranges, or does not."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

Span = tuple[int, int]


@dataclass
class FarFile:
    """A file at a URL.

    Attributes:
        data: Its bytes.
        url: Where it is.
        asked: Of every request for a part, the first byte and the one after the last.
        failing: How many of the next requests fail.
        cut: How many bytes are missing at the end of each answer.
        takes_ranges: Whether the server knows of parts.
        n_sent: Bytes that went into the body of an answer (web server only).
    """

    data: bytes
    url: str = ""
    asked: list[Span] = field(default_factory=list)
    failing: int = 0
    cut: int = 0
    takes_ranges: bool = True
    n_sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def part(self, start: int, end: int) -> bytes | None:
        """The answer to a request for a part; None if it fails."""
        with self.lock:
            self.asked.append((start, end))
            if self.failing > 0:
                self.failing -= 1
                return None
        return self.data[start : max(start, end - self.cut)]

    @property
    def n_asked(self) -> int:
        """Bytes that were asked for."""
        return sum(min(end, len(self.data)) - start for start, end in self.asked)


@contextmanager
def in_memory(data: bytes, name: str) -> Iterator[FarFile]:
    """A file of fsspec's memory."""
    file = FarFile(data, f"memory://slides/{name}")
    system = fsspec.filesystem("memory")
    system.pipe_file(f"/slides/{name}", data)

    def cat_file(self: MemoryFileSystem, path: str, start: int, end: int) -> bytes:
        part = file.part(start, end)
        if part is None:
            raise ConnectionResetError("the line is dead")
        return part

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFileSystem, "cat_file", cat_file)
        yield file
    system.rm(f"/slides/{name}")


@contextmanager
def on_a_web_server(data: bytes, name: str) -> Iterator[FarFile]:
    """A file behind a web server of this process; any other path is not found."""
    file = FarFile(data)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            if self.path != f"/{name}":
                self._send(404, b"", body=body)
                return
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if wanted is None or not file.takes_ranges:
                self._send(200, file.data, body=body)
                return
            start, end = int(wanted[1]), int(wanted[2]) + 1
            part = file.part(start, end)
            if part is None:
                self._send(503, b"", body=body)
            else:
                self._send(206, part, body=body, span=f"bytes {start}-{start + len(part) - 1}/{len(file.data)}")

        def _send(self, status: int, content: bytes, *, body: bool, span: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if span:
                self.send_header("Content-Range", span)
            self.end_headers()
            try:
                for start in range(0, len(content) if body else 0, 2**16):
                    chunk = content[start : start + 2**16]
                    self.wfile.write(chunk)
                    with file.lock:
                        file.n_sent += len(chunk)
            except OSError:  # the other side had enough
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        file.url = f"http://127.0.0.1:{server.server_port}/{name}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield file
        server.shutdown()
        thread.join()
