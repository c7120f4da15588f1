"""Writes the overlay of a label map that arrives in strips; peak memory does not grow with the height of the map."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import shapely

from wsi_lpd.classes import TissueClass
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.geojson import Feature, region_features, write_overlay
from wsi_lpd.overlay.raster.strips import Strip, recut
from wsi_lpd.overlay.simplification.budget import Strips, count_vertices, outline_within
from wsi_lpd.overlay.simplification.simplify import AreaAccount
from wsi_lpd.overlay.tracing.joined import FinishedRegions
from wsi_lpd.overlay.tracing.measure import Tally, measurements
from wsi_lpd.overlay.tracing.outlines import Outline, trace_strips
from wsi_lpd.overlay.tracing.trace import Polygons
from wsi_lpd.types import AnyArray

STRIP_PX: Final = 2 * 2**20
"""Pixels per strip that is simplified at a time, which limits memory for maps of any width."""

LEAST_STRIP_ROWS: Final = 256
"""Borders keep a vertex where they cross a seam. Compared with the whole map at once, this gives 0.2 to 0.4 % more
vertices with 512 rows (regions of some 30 px), 0.5 to 1 % with 256 and 1 to 2 % with 128; joining takes time, too."""


@dataclass(frozen=True)
class StreamedOverlay:
    """Summary of the written overlay.

    Attributes:
        n_features: Features in the file.
        n_vertices: Positions in the file, including those that close rings.
        tolerance_px: Simplification tolerance that was used, in label-map pixels.
        area_errors: Relative change in area due to simplification, for each class that occurs.
        areas_px: Number of label-map pixels of each class that occurs.
    """

    n_features: int
    n_vertices: int
    tolerance_px: float
    area_errors: Mapping[str, float]
    areas_px: Mapping[str, int]


def write_streamed_overlay(
    path: Path,
    strips: Strips,
    classes: Sequence[TissueClass],
    *,
    frame: GridFrame,
    tolerance_px: float = 0.0,
    max_vertices: int | None = None,
    merge: bool = False,
    pixel_area_um2: float,
    slide: str = "",
    metadata: Mapping[str, str] | None = None,
    strip_rows: int | None = None,
) -> StreamedOverlay:
    """Traces, simplifies, measures and writes a label map without holding all of it in memory.

    The file depends only on `strip_rows`, not on the height of the given strips.

    Args:
        path: `.geojson` or `.geojson.gz`; replaced only by a complete, valid file.
        strips: The map; called once, and up to six more times if `max_vertices` is given.
        classes: `classes[i]` has the label i + 1.
        frame: Position and scale of the label map on the slide.
        tolerance_px: As in `simplify_regions`, but in label-map pixels.
        max_vertices: Most positions in the overlay; the tolerance is raised to meet it (see `outline_within`). The
            log, the result and the metadata state the outcome.
        merge: Write one MultiPolygon per class; this holds all polygons in memory until the end.
        pixel_area_um2: Area of a label-map pixel.
        slide: As in `write_overlay`.
        metadata: Provenance, as in `write_overlay`.
        strip_rows: Height of the strips that are simplified at a time; None = chosen by the width of the map.

    Raises:
        OverlayError: As in `write_overlay`.
    """
    outline, texts = Outline(tolerance_px), dict(metadata or {})

    def cut() -> Iterator[Strip]:
        given = iter(strips())
        for first in given:
            yield from recut(chain([first], given), strip_rows or _rows_for(first.labels.shape[1]))

    if max_vertices is not None:
        chosen = outline_within(cut, outline, max_vertices=max_vertices, frame=frame)
        outline = chosen.outline
        texts["max_vertices"] = str(max_vertices)
        texts["outline_area_error"] = f"{chosen.area_error:.6g}"
    texts["outline_tolerance_px"] = f"{outline.tolerance_px:.6g}"
    totals = _Totals()
    batches = trace_strips(cut(), frame=frame, outline=outline, account=totals.account)
    features = _features(totals.counting(_by_class(batches) if merge else batches), classes, pixel_area_um2)
    n_features = write_overlay(path, features, slide=slide, metadata=texts)
    return totals.overlay(n_features, outline.tolerance_px, classes)


def _rows_for(width: int) -> int:
    return max(LEAST_STRIP_ROWS, STRIP_PX // width)


@dataclass
class _Totals:
    """Totals over all regions written to the file."""

    account: AreaAccount = field(default_factory=AreaAccount)
    areas_px: AnyArray = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    n_vertices: int = 0

    def counting(self, batches: Iterable[FinishedRegions]) -> Iterator[FinishedRegions]:
        for batch in batches:
            self.n_vertices += count_vertices(batch)
            np.add.at(self.areas_px, batch.labels, batch.tally.areas_px)
            yield batch

    def overlay(self, n_features: int, tolerance_px: float, classes: Sequence[TissueClass]) -> StreamedOverlay:
        names = {label: classes[label - 1].name for label in np.flatnonzero(self.areas_px).tolist()}
        errors = self.account.errors()
        return StreamedOverlay(
            n_features=n_features,
            n_vertices=self.n_vertices,
            tolerance_px=tolerance_px,
            area_errors={name: float(errors[label]) for label, name in names.items()},
            areas_px={name: int(self.areas_px[label]) for label, name in names.items()},
        )


def _features(
    batches: Iterable[FinishedRegions], classes: Sequence[TissueClass], pixel_area_um2: float
) -> Iterator[Feature]:
    names = [tissue_class.name for tissue_class in classes]
    for batch in batches:
        numbers = measurements(batch.tally, batch.labels, pixel_area_um2=pixel_area_um2, class_names=names)
        yield from region_features(batch, classes, measurements=numbers)


def _by_class(batches: Iterable[FinishedRegions]) -> Iterator[FinishedRegions]:
    """One region per class: a MultiPolygon of all its parts, in the order of the labels."""
    parts: defaultdict[int, list[Polygons]] = defaultdict(list)
    labels, tally = np.zeros(0, dtype=np.uint8), None
    for batch in batches:
        for label in np.unique(batch.labels).tolist():
            parts[label].append(batch.polygons[batch.labels == label])
        both: Tally = batch.tally if tally is None else tally.followed_by(batch.tally)
        labels, group = np.unique(np.concatenate([labels, batch.labels]), return_inverse=True)
        tally = both.summed(group, len(labels))
    if tally is not None:
        polygons = np.empty(len(labels), dtype=object)
        for index, label in enumerate(labels.tolist()):
            polygons[index] = shapely.multipolygons(np.concatenate(parts[label]))
        yield FinishedRegions(polygons, labels, tally)
