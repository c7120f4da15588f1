"""Traces a label map in strips: outlines of its regions, exact or simplified, with few strips in memory at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Final, NamedTuple

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.strips import Strip
from wsi_lpd.overlay.simplification.simplify import MAX_AREA_ERROR, AreaAccount, Draft, draft, simplify_regions
from wsi_lpd.overlay.tracing.joined import FinishedRegions, RegionJoiner
from wsi_lpd.overlay.tracing.measure import Tally, tally_pixels
from wsi_lpd.overlay.tracing.trace import Regions, trace_regions
from wsi_lpd.threads import in_order

_THREADS: Final = 2
"""Number of strips traced and simplified at a time; each takes memory until its regions are written."""


class Outline(NamedTuple):
    """How much outlines are simplified.

    Attributes:
        tolerance_px: As in `simplify_regions`, in label-map pixels; 0 keeps pixel edges.
        max_area_error: As in `simplify_regions`.
    """

    tolerance_px: float = 0.0
    max_area_error: float = MAX_AREA_ERROR

    def draft(self, regions: Regions) -> Draft | None:
        """The part of `of` that needs no account; see `draft`."""
        return draft(regions, self.tolerance_px)

    def of(self, regions: Regions, drafted: Draft | None, account: AreaAccount) -> Regions:
        """The regions with simplified outlines."""
        return simplify_regions(
            regions, self.tolerance_px, account=account, max_area_error=self.max_area_error, drafted=drafted
        )


class Piece(NamedTuple):
    """The regions of one strip, cut at its edges, in the frame of the whole map."""

    regions: Regions
    tally: Tally
    """Counts over their pixels."""
    drafted: Draft | None
    """Their simplified outlines, if requested."""


def trace_strips(
    strips: Iterable[Strip],
    *,
    frame: GridFrame | None = None,
    outline: Outline | None = None,
    account: AreaAccount | None = None,
) -> Iterator[FinishedRegions]:
    """Traces a label map strip by strip and yields regions as soon as no later strip can extend them.

    Exact outlines equal those of `trace_regions` on the whole map, vertex by vertex. Simplified outlines are a valid
    coverage too; the parts along a seam between two strips are not simplified, so they depend on the seams: use `recut`
    for a result that does not depend on the given strips. Only regions that reach the last row are held in memory.

    Args:
        strips: From top to bottom, of any height.
        frame: Moves the polygons to level-0 pixels; None leaves them in grid corners of the whole map.
        outline: How much outlines are simplified; None keeps pixel edges.
        account: Receives the areas before and after simplification.
    """
    joiner = RegionJoiner(frame=frame)
    areas = AreaAccount() if account is None else account
    with closing(traced_pieces(strips, frame, outline)) as pieces:
        for regions, tally, drafted in pieces:
            yield joiner.add(regions if outline is None else outline.of(regions, drafted, areas), tally)
    if (rest := joiner.finish()) is not None:
        yield rest


def traced_pieces(
    strips: Iterable[Strip], frame: GridFrame | None, outline: Outline | None = None
) -> Generator[Piece, None, None]:
    """The pieces of the map in the order of the strips, computed in two threads."""
    simplifies = outline is not None and outline.tolerance_px > 0

    def piece(placed_strip: tuple[int, Strip]) -> Piece:
        top, strip = placed_strip
        regions = trace_regions(strip.labels, background=simplifies, frame=frame, top=top)
        tally = tally_pixels(
            regions.components, len(regions), probabilities=strip.probabilities, prototypes=strip.prototypes
        )
        return Piece(regions, tally, None if outline is None else outline.draft(regions))

    return in_order(piece, _with_tops(strips), threads=_THREADS)


def _with_tops(strips: Iterable[Strip]) -> Iterator[tuple[int, Strip]]:
    """The non-empty strips, each with the row of the map at which it starts."""
    top = 0
    for strip in strips:
        if strip.height:
            yield top, strip
        top += strip.height
