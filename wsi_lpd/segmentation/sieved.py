"""The map without its small regions: sieved once, kept beside the strips, and read from there in every pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import imagecodecs
import numpy as np

from wsi_lpd.errors import OverlayError
from wsi_lpd.files import replacing
from wsi_lpd.overlay.raster.label_strips import of_height
from wsi_lpd.overlay.raster.sieve import sieved
from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.segmentation.strip_store import SIEVED, StripStore
from wsi_lpd.types import UInt8Array

_ZSTD_LEVEL: Final = 1


class SievedMap:
    """A map without its small regions, for any number of passes; iterated over, its labels alone.

    Of what the strips hold only the labels change, so these alone are written: one zstd frame for each strip of the
    store, in one file in its folder. Every run writes them anew, whatever a killed one has left.
    """

    def __init__(self, store: StripStore, min_area_px: float, *, min_hole_px: float | None = None) -> None:
        """Sieves a complete map; some strips are held at a time.

        Args:
            store: The map.
            min_area_px: Least area of a region that stays, in map pixels.
            min_hole_px: Of a hole; None = `min_area_px`.

        Raises:
            OverlayError: If a strip is damaged.
        """
        self._store = store
        self._path = store.folder / SIEVED
        self._ends = [0]
        """Where in the file each frame ends, after the beginning of the first."""
        with replacing(self._path) as temporary, temporary.open("wb") as stream:
            rest = sieved(store.label_strips, min_area_px, min_hole_px=min_hole_px)
            for rows in of_height(rest, store.grid.strip_rows):
                stream.write(imagecodecs.zstd_encode(rows.tobytes(), level=_ZSTD_LEVEL))
                self._ends.append(stream.tell())

    def __iter__(self) -> Iterator[UInt8Array]:
        return map(self._labels_of, range(len(self._store)))

    def strips(self) -> Iterator[Strip]:
        """With probabilities and prototypes."""
        for index, strip in enumerate(self._store):
            yield strip._replace(labels=self._labels_of(index))

    def _labels_of(self, index: int) -> UInt8Array:
        start, end = self._ends[index : index + 2]
        try:
            with self._path.open("rb") as stream:
                stream.seek(start)
                labels = np.frombuffer(imagecodecs.zstd_decode(stream.read(end - start)), np.uint8)
            return labels.reshape(self._store.grid.shapes_of(index)[0])
        except (OSError, ValueError, RuntimeError) as err:
            raise OverlayError(f"{self._path}: is damaged ({err}); run segment again to resume") from err
