"""The overlay of a label map that comes in strips: peak memory does not grow with the height of the map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.joined import FinishedRegions, RegionJoiner
from wsi_lpd.overlay.measure import tally_pixels
from wsi_lpd.overlay.simplify import simplify_regions
from wsi_lpd.overlay.strips import Strip
from wsi_lpd.overlay.trace import placed, trace_regions


def trace_strips(
    strips: Iterable[Strip], *, frame: GridFrame | None = None, tolerance_px: float = 0.0
) -> Iterator[FinishedRegions]:
    joiner = RegionJoiner(frame=frame)
    top = 0
    for strip in strips:
        if strip.height == 0:
            continue
        regions = placed(trace_regions(strip.labels), frame=frame, top=top)
        tally = tally_pixels(
            regions.components, len(regions), probabilities=strip.probabilities, prototypes=strip.prototypes
        )
        yield from joiner.add(simplify_regions(regions, tolerance_px), tally)
        top += strip.height
    yield from joiner.finish()
