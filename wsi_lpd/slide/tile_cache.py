"""Decoded native tiles that will be asked for again, each decoded once however many threads ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from wsi_lpd.types import UInt8Array

Key = TypeVar("Key", bound=Hashable)


class TileCache(Generic[Key]):
    """Tiles that will be asked for again and others, each kind in a queue of its own that the oldest leaves first.

    Regions are read in bands. A tile on the border of two regions is needed again a whole band later; one inside a
    region only where regions overlap by more than a tile, and then mostly soon.
    """

    def __init__(self, *, kept_bytes: int, passing_bytes: int) -> None:
        self._lock = threading.Lock()
        self._kept: _Queue[Key] = _Queue(kept_bytes)
        self._passing: _Queue[Key] = _Queue(passing_bytes)

    def get(self, key: Key, decode: Callable[[], UInt8Array], *, keep: bool) -> UInt8Array:
        """The tile of that key, shared with others: not to be written to.

        A second thread that comes while the first one decodes waits for it.

        Args:
            key: Of the tile.
            decode: Makes it.
            keep: Whether it is likely to be wanted again.
        """
        with self._lock:
            tile, is_new = self._entered(key, keep=keep)
        if is_new:
            self._fill(key, tile, decode)
        return tile.result()

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
        new = [(key, tile) for key, tile, is_new in entered if is_new]
        if new:
            try:
                decoders = fetch([key for key, _ in new])
            except BaseException as err:
                self._fail(new, err)
            else:
                for (key, tile), decode in zip(new, decoders, strict=True):
                    self._fill(key, tile, decode)
        return [tile.result() for _, tile, _ in entered]

    def _entered(self, key: Key, *, keep: bool) -> tuple[Future[UInt8Array], bool]:
        """The entry of a key, now the latest one, and whether it was made for this call; under the lock."""
        tile = self._kept.take(key) or self._passing.take(key)
        is_new = tile is None
        tile = Future() if tile is None else tile
        (self._kept if keep else self._passing).put(key, tile)
        return tile, is_new

    def _fail(self, tiles: Sequence[tuple[Key, Future[UInt8Array]]], err: BaseException) -> None:
        with self._lock:
            for key, _ in tiles:
                self._kept.take(key)
                self._passing.take(key)
        for _, tile in tiles:
            tile.set_exception(err)

    def _fill(self, key: Key, tile: Future[UInt8Array], decode: Callable[[], UInt8Array]) -> None:
        try:
            pixels = decode()
        except BaseException as err:
            self._fail([(key, tile)], err)
            return
        with self._lock:
            queue = self._kept if self._kept.take(key) is not None else self._passing
            queue.take(key)
            tile.set_result(pixels)
            queue.put(key, tile)


class _Queue(Generic[Key]):
    """Tiles in the order they were last asked for; only those that are finished count, and only these leave."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._tiles: OrderedDict[Key, Future[UInt8Array]] = OrderedDict()
        self._n_bytes = 0

    def take(self, key: Key) -> Future[UInt8Array] | None:
        tile = self._tiles.pop(key, None)
        self._n_bytes -= _n_bytes(tile)
        return tile

    def put(self, key: Key, tile: Future[UInt8Array]) -> None:
        self._tiles[key] = tile
        self._n_bytes += _n_bytes(tile)
        while self._n_bytes > self._capacity:
            self.take(next(key for key, tile in self._tiles.items() if tile.done()))


def _n_bytes(tile: Future[UInt8Array] | None) -> int:
    return tile.result().nbytes if tile is not None and tile.done() else 0
