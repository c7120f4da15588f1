"""Finished strips of a map on disk: what a killed run goes on from, and what later steps read again.

A working folder holds `strips.json`, which says what the strips belong to, and one file per strip, `000000.strip` and
so on: a header (`_HEADER`: magic, then bytes and CRC-32 of each frame) and three zstd frames of uint8 values. These are
labels (rows, W), probabilities (C + 1, rows, W) and prototypes (rows, W). `SIEVED` lies beside them while files are
written (`sieved.py`).
"""

from __future__ import annotations

import json
import logging
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, overload

import imagecodecs
import numpy as np

from wsi_lpd.errors import OverlayError
from wsi_lpd.files import remove, replacing, write_text
from wsi_lpd.overlay.strips import Strip
from wsi_lpd.segment.strips import StripGrid
from wsi_lpd.types import UInt8Array

FORMAT: Final = "wsi-lpd strips"
FORMAT_VERSION: Final = 1

SIEVED: Final = "sieved.labels"

_IDENTITY: Final = "strips.json"
_OURS: Final = re.compile(r"(\.[0-9a-f]{8}\.)?(\d{6}\.strip|strips\.json|sieved\.labels)")
_MAGIC: Final = b"wlps"
_HEADER: Final = struct.Struct("<4s6I")
_ZSTD_LEVEL: Final = 1

logger = logging.getLogger(__name__)


class StripStore(Sequence[Strip]):
    """The finished strips of one map, from the top; a strip is read anew whenever it is asked for."""

    def __init__(self, folder: Path, grid: StripGrid, identity: Mapping[str, Any]) -> None:
        """Goes on with what `folder` holds if it has the same identity, else begins anew and says so.

        The caller holds the lock of the output: there is one writer.

        Args:
            folder: The working folder.
            grid: How the map is cut.
            identity: All that decides what the pixels of the map are, as plain values of JSON.

        Raises:
            OverlayError: If something that is no working folder is in the way.
        """
        self.folder = folder
        self.grid = grid
        wanted = {"format": FORMAT, "format_version": FORMAT_VERSION, "grid": asdict(grid), **identity}
        wanted = json.loads(json.dumps(wanted))
        found = _identity_in(folder)
        if found != wanted:
            self._begin(wanted, found)
        for leftover in folder.glob(".*"):  # half a strip of a run that was killed
            remove(leftover)
        self._n_done = next(i for i in range(len(grid) + 1) if i == len(grid) or not self._path(i).is_file())

    def __len__(self) -> int:
        return self._n_done

    @overload
    def __getitem__(self, index: int) -> Strip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Strip]: ...
    def __getitem__(self, index: int | slice) -> Strip | list[Strip]:
        """A finished strip.

        Raises:
            OverlayError: If its file is damaged.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Strip(*self._parts(range(len(self))[index], 3))

    @property
    def label_strips(self) -> Sequence[UInt8Array]:
        """The labels alone, (rows, W) each, read anew whenever they are asked for."""
        return _LabelStrips(self)

    def append(self, strip: Strip) -> None:
        """Writes the next strip, whole or not at all.

        Raises:
            ValueError: If it has another shape than the next strip of the grid.
        """
        expected = self.grid.shapes_of(len(self))
        if tuple(part.shape for part in strip) != expected:
            raise ValueError(f"strip {len(self)} has shapes {[part.shape for part in strip]}, expected {expected}")
        frames = [bytes(imagecodecs.zstd_encode(part.tobytes(), level=_ZSTD_LEVEL)) for part in strip]
        header = _HEADER.pack(_MAGIC, *(number for frame in frames for number in _numbers(frame)))
        with replacing(self._path(len(self))) as temporary:
            temporary.write_bytes(b"".join([header, *frames]))
        self._n_done += 1

    def labels_of(self, index: int) -> UInt8Array:
        """The labels of a finished strip, (rows, W); see `__getitem__`."""
        return self._parts(range(len(self))[index], 1)[0]

    def remove(self) -> None:
        """Removes the working folder; the strips are no longer needed."""
        remove(self.folder)

    def _begin(self, identity: Mapping[str, Any], found: Mapping[str, Any] | None) -> None:
        if self.folder.exists():
            remove_working_folder(self.folder)
        if found is not None:
            changed = sorted(_differences(found, identity))
            logger.warning("%s: was begun with another %s; begins anew", self.folder.name, ", ".join(changed))
        self.folder.mkdir(parents=True)
        write_text(self.folder / _IDENTITY, json.dumps(identity, indent=1))

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.strip"

    def _parts(self, index: int, count: int) -> list[UInt8Array]:
        """The first `count` arrays of a strip."""
        path = self._path(index)
        try:
            with path.open("rb") as stream:
                magic, *numbers = _HEADER.unpack(stream.read(_HEADER.size))
                if magic != _MAGIC:
                    raise ValueError("no header")
                frames = [stream.read(size) for size in numbers[0 : 2 * count : 2]]
            if [number for frame in frames for number in _numbers(frame)] != numbers[: 2 * count]:
                raise ValueError("wrong checksum")
            raw = [np.frombuffer(imagecodecs.zstd_decode(frame), np.uint8) for frame in frames]
            return [part.reshape(shape) for part, shape in zip(raw, self.grid.shapes_of(index)[:count], strict=True)]
        except (OSError, ValueError, RuntimeError, struct.error) as err:
            raise OverlayError(f"{path}: is damaged ({err}); begin anew with --overwrite") from err


class _LabelStrips(Sequence[UInt8Array]):
    def __init__(self, store: StripStore) -> None:
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    @overload
    def __getitem__(self, index: int) -> UInt8Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[UInt8Array]: ...
    def __getitem__(self, index: int | slice) -> UInt8Array | list[UInt8Array]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._store.labels_of(index)


def remove_working_folder(folder: Path) -> None:
    """Removes a working folder; a missing one is no error.

    Raises:
        OverlayError: If there is something else of that name.
    """
    if folder.exists() and not (folder.is_dir() and all(_OURS.fullmatch(path.name) for path in folder.iterdir())):
        raise OverlayError(f"{folder}: is in the way and no working folder of segment; move it")
    remove(folder)


def _numbers(frame: bytes) -> tuple[int, int]:
    return len(frame), zlib.crc32(frame)


def _identity_in(folder: Path) -> dict[str, Any] | None:
    try:
        tree = json.loads((folder / _IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Dotted keys whose values differ."""
    for key in one.keys() | other.keys():
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{above}{key}.")
        elif a != b:
            yield f"{above}{key}"
