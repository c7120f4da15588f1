"""A cache of decoded native tiles; each is decoded once, however many threads request it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from wsi_lpd.types import UInt8Array

Key = TypeVar("Key", bound=Hashable)
Promise: TypeAlias = "Future[UInt8Array]"


class TileCache(Generic[Key]):
    """Two least-recently-used queues: tiles that will be requested again, and all others.

    Regions are read in bands. A tile on the border of two regions is needed again a whole band later; a tile inside a
    region only if regions overlap by more than a tile, and then usually soon.
    """

    def __init__(self, *, kept_bytes: int, passing_bytes: int) -> None:
        """Creates an empty cache; `hold` can raise `kept_bytes`."""
        self._lock = threading.Lock()
        self._kept: _Queue[Key] = _Queue(kept_bytes)
        self._passing: _Queue[Key] = _Queue(passing_bytes)

    def hold(self, kept_bytes: int) -> None:
        """Raises the capacity for tiles that will be requested again to at least `kept_bytes`."""
        with self._lock:
            self._kept.raise_to(kept_bytes)

    def get(self, key: Key, decode: Callable[[], UInt8Array], *, keep: bool) -> UInt8Array:
        """The tile of that key, shared with other callers: do not write to it.

        A second thread that requests the tile while it is being decoded waits for the first one.

        Args:
            key: Of the tile.
            decode: Decodes the tile.
            keep: Whether it is likely to be requested again.
        """
        with self._lock:
            tile, promise = self._entered(key, keep=keep)
        if promise is not None:
            self._fill(key, promise, decode)
        return _pixels(tile)

    def get_together(
        self, wanted: Sequence[tuple[Key, bool]], fetch: Callable[[list[Key]], Sequence[Callable[[], UInt8Array]]]
    ) -> list[UInt8Array]:
        """Several tiles whose encoded bytes are best fetched in one batch; see `get`.

        A thread only waits for tiles that were requested before its own, so there is no deadlock.

        Args:
            wanted: Keys, each with its `keep`.
            fetch: Takes the keys that are not cached and returns their decoders in the same order.
        """
        with self._lock:
            entered = [(key, *self._entered(key, keep=keep)) for key, keep in wanted]
        new = [(key, promise) for key, _, promise in entered if promise is not None]
        if new:
            try:
                decoders = fetch([key for key, _ in new])
            except BaseException as err:
                self._fail(new, err)
            else:
                for (key, promise), decode in zip(new, decoders, strict=True):
                    self._fill(key, promise, decode)
        return [_pixels(tile) for _, tile, _ in entered]

    def _entered(self, key: Key, *, keep: bool) -> tuple[UInt8Array | Promise, Promise | None]:
        """Entry of a key, moved to the end of its queue, and the promise this call must fulfil; needs the lock."""
        tile = self._kept.take(key)
        if tile is None:
            tile = self._passing.take(key)
        queue = self._kept if keep else self._passing
        if tile is not None:
            queue.put(key, tile)
            return tile, None
        promise: Promise = Future()
        queue.put(key, promise)
        return promise, promise

    def _fail(self, promises: Sequence[tuple[Key, Promise]], err: BaseException) -> None:
        with self._lock:
            for key, _ in promises:
                self._kept.take(key)
                self._passing.take(key)
        for _, promise in promises:
            promise.set_exception(err)

    def _fill(self, key: Key, promise: Promise, decode: Callable[[], UInt8Array]) -> None:
        try:
            pixels = decode()
        except BaseException as err:
            self._fail([(key, promise)], err)
            return
        with self._lock:
            (self._kept if key in self._kept else self._passing).put(key, pixels)
        promise.set_result(pixels)


class _Queue(Generic[Key]):
    """Tiles, or promises of tiles, in order of their last request; only finished tiles count towards the size."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._tiles: OrderedDict[Key, UInt8Array | Promise] = OrderedDict()
        self._n_bytes = 0

    def raise_to(self, capacity_bytes: int) -> None:
        self._capacity = max(self._capacity, capacity_bytes)

    def __contains__(self, key: Key) -> bool:
        return key in self._tiles

    def take(self, key: Key) -> UInt8Array | Promise | None:
        tile = self._tiles.pop(key, None)
        if isinstance(tile, np.ndarray):
            self._n_bytes -= tile.nbytes
        return tile

    def put(self, key: Key, tile: UInt8Array | Promise) -> None:
        """Adds a tile, or replaces its promise by it."""
        self._tiles[key] = tile
        if isinstance(tile, np.ndarray):
            self._n_bytes += tile.nbytes
            while self._n_bytes > self._capacity:
                self.take(next(key for key, tile in self._tiles.items() if isinstance(tile, np.ndarray)))


def _pixels(tile: UInt8Array | Promise) -> UInt8Array:
    return tile if isinstance(tile, np.ndarray) else tile.result()
