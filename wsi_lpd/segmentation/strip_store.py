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
from wsi_lpd.files import add_file, remove, write_text
from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.segmentation.strips import StripGrid
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
    """The finished strips of one map; a strip is read anew whenever it is asked for.

    As a sequence it has those from the top to the first that is missing.
    """

    def __init__(self, folder: Path, grid: StripGrid, identity: Mapping[str, Any], *, joins: bool = False) -> None:
        """Goes on with what `folder` holds if it has the same identity, else begins anew and says so.

        The caller, or whom it works for, holds the lock of the output.

        Args:
            folder: The working folder.
            grid: How the map is cut.
            identity: All that decides what the pixels of the map are, as plain values of JSON.
            joins: Whether others may be writing strips of the same map: the folder must have been begun, and stays as
                it is but for the strips that are added.

        Raises:
            OverlayError: If something that is no working folder is in the way, or what is to be joined is another map.
        """
        self.folder = folder
        self.grid = grid
        wanted = {"format": FORMAT, "format_version": FORMAT_VERSION, "grid": asdict(grid), **identity}
        self._identity: dict[str, Any] = json.loads(json.dumps(wanted))
        found = _identity_in(folder)
        if joins and found != self._identity:
            raise OverlayError(self._cannot_join(found))
        if found != self._identity:
            self._begin(found)
        if not joins:
            for leftover in folder.glob(".*"):  # half a strip of a run that was killed
                remove(leftover)
        there = {path.name for path in folder.iterdir()}
        self._missing = [i for i in range(len(grid)) if self._path(i).name not in there]

    def __len__(self) -> int:
        return self._missing[0] if self._missing else len(self.grid)

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

    @property
    def missing(self) -> list[int]:
        """Numbers of the strips that were not there and have not been written since, ascending."""
        return list(self._missing)

    def write(self, index: int, strip: Strip) -> None:
        """Writes a strip, whole or not at all.

        Raises:
            ValueError: If it has another shape than this strip of the grid.
            OverlayError: If another run has begun another map in the folder.
        """
        expected = self.grid.shapes_of(index)
        if tuple(part.shape for part in strip) != expected:
            raise ValueError(f"strip {index} has shapes {[part.shape for part in strip]}, expected {expected}")
        frames = [bytes(imagecodecs.zstd_encode(part.tobytes(), level=_ZSTD_LEVEL)) for part in strip]
        header = _HEADER.pack(_MAGIC, *(number for frame in frames for number in _numbers(frame)))
        if not add_file(self.folder, self._path(index).name, [header, *frames], is_ours=self._is_same):
            raise OverlayError(self._cannot_join(_identity_in(self.folder)))
        self._missing = [i for i in self._missing if i != index]

    def labels_of(self, index: int) -> UInt8Array:
        """The labels of a finished strip, (rows, W); see `__getitem__`."""
        return self._parts(range(len(self))[index], 1)[0]

    def remove(self) -> None:
        """Removes the working folder; the strips are no longer needed."""
        remove(self.folder)

    def _begin(self, found: Mapping[str, Any] | None) -> None:
        if self.folder.exists():
            remove_working_folder(self.folder)
        if found is not None:
            logger.warning("%s: was started with another %s; starting over", self.folder.name, self._changed(found))
        self.folder.mkdir(parents=True)
        write_text(self.folder / _IDENTITY, json.dumps(self._identity, indent=1))

    def _is_same(self) -> bool:
        return _identity_in(self.folder) == self._identity

    def _changed(self, found: Mapping[str, Any]) -> str:
        return ", ".join(sorted(_differences(found, self._identity)))

    def _cannot_join(self, found: Mapping[str, Any] | None) -> str:
        if found is None:
            return f"{self.folder}: is gone; another run has ended or replaced it. Run the command again"
        return (
            f"{self.folder}: holds a map with another {self._changed(found)}; another run has started it over, or the "
            "workers are not of one kind. Run the command again"
        )

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
            raise OverlayError(f"{path}: is damaged ({err}); start over with --overwrite") from err


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
        raise OverlayError(f"{folder}: exists and is not a working folder of segment; move it")
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
