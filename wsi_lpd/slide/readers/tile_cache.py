"""Decoded native tiles that will be asked for again, each decoded once however many threads ask."""

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
    """Tiles that will be asked for again and others, each kind in a queue of its own that the oldest leaves first.

    Regions are read in bands. A tile on the border of two regions is needed again a whole band later; one inside a
    region only where regions overlap by more than a tile, and then mostly soon.
    """

    def __init__(self, *, kept_bytes: int, passing_bytes: int) -> None:
        """Begins empty; `kept_bytes` can be raised (`hold`)."""
        self._lock = threading.Lock()
        self._kept: _Queue[Key] = _Queue(kept_bytes)
        self._passing: _Queue[Key] = _Queue(passing_bytes)

    def hold(self, kept_bytes: int) -> None:
        """Makes room for as many bytes of tiles that will be asked for again, if there is less."""
        with self._lock:
            self._kept.raise_to(kept_bytes)

    def get(self, key: Key, decode: Callable[[], UInt8Array], *, keep: bool) -> UInt8Array:
        """The tile of that key, shared with others: not to be written to.

        A second thread that comes while the first one decodes waits for it.

        Args:
            key: Of the tile.
            decode: Makes it.
            keep: Whether it is likely to be wanted again.
        """
        with self._lock:
            tile, promise = self._entered(key, keep=keep)
        if promise is not None:
            self._fill(key, promise, decode)
        return _pixels(tile)

    def get_together(
        self, wanted: Sequence[tuple[Key, bool]], fetch: Callable[[list[Key]], Sequence[Callable[[], UInt8Array]]]
    ) -> list[UInt8Array]:
        """Several tiles, where what they are decoded from is best fetched in one go; see `get`.

        A thread waits for tiles that were asked for before its own, and for no others: none waits for ever.

        Args:
            wanted: Keys, each with its `keep`.
            fetch: Makes of the keys that are not here, in the same order, what decodes each.
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
        """The entry of a key, now the latest one, and the promise that this call has to keep; under the lock."""
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
    """Tiles, or promises of them, as they were last asked for. Only finished ones have a size, and only these leave."""

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
        """Enters a tile, or puts it in the place of its promise."""
        self._tiles[key] = tile
        if isinstance(tile, np.ndarray):
            self._n_bytes += tile.nbytes
            while self._n_bytes > self._capacity:
                self.take(next(key for key, tile in self._tiles.items() if isinstance(tile, np.ndarray)))


def _pixels(tile: UInt8Array | Promise) -> UInt8Array:
    return tile if isinstance(tile, np.ndarray) else tile.result()
