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
    """Least recently used tiles leave first, but those that are to be kept last.

    Regions are read in bands. A tile on the border of two regions is needed again a whole band later, one inside a
    region hardly ever; in one queue the second kind would push out the first.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._lock = threading.Lock()
        self._passing: OrderedDict[Key, Future[UInt8Array]] = OrderedDict()
        self._kept: OrderedDict[Key, Future[UInt8Array]] = OrderedDict()
        self._n_bytes = 0

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
        tile = self._kept.pop(key, None) or self._passing.pop(key, None)
        is_new = tile is None
        tile = Future() if tile is None else tile
        (self._kept if keep else self._passing)[key] = tile
        return tile, is_new

    def _fail(self, tiles: Sequence[tuple[Key, Future[UInt8Array]]], err: BaseException) -> None:
        with self._lock:
            for key, _ in tiles:
                self._kept.pop(key, None)
                self._passing.pop(key, None)
        for _, tile in tiles:
            tile.set_exception(err)

    def _fill(self, key: Key, tile: Future[UInt8Array], decode: Callable[[], UInt8Array]) -> None:
        try:
            pixels = decode()
        except BaseException as err:
            self._fail([(key, tile)], err)
            return
        tile.set_result(pixels)
        with self._lock:
            self._n_bytes += pixels.nbytes
            while self._n_bytes > self._capacity and self._forget_one():
                pass

    def _forget_one(self) -> bool:
        """Forgets the tile that is least likely to be wanted again; False where none is finished."""
        for tiles in (self._passing, self._kept):
            oldest = next((key for key, tile in tiles.items() if tile.done()), None)
            if oldest is not None:
                self._n_bytes -= tiles.pop(oldest).result().nbytes
                return True
        return False
