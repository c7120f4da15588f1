"""A label map in strips -> outlines of its regions, exact or simplified, one strip in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.joined import FinishedRegions, RegionJoiner
from wsi_lpd.overlay.measure import Tally, tally_pixels
from wsi_lpd.overlay.simplify import MAX_AREA_ERROR, AreaAccount, simplify_regions
from wsi_lpd.overlay.strips import Strip
from wsi_lpd.overlay.trace import Regions, placed, trace_regions


class Outline(NamedTuple):
    """How much simpler outlines become.

    Attributes:
        tolerance_px: As in `simplify_regions`, in label-map pixels; 0 keeps pixel edges.
        max_area_error: As in `simplify_regions`.
    """

    tolerance_px: float = 0.0
    max_area_error: float = MAX_AREA_ERROR

    def of(self, regions: Regions, account: AreaAccount) -> Regions:
        """The regions with such outlines; their frame is minded."""
        scale = 1.0 if regions.frame is None else regions.frame.downsample_x
        return simplify_regions(regions, self.tolerance_px * scale, account=account, max_area_error=self.max_area_error)


def trace_strips(
    strips: Iterable[Strip],
    *,
    frame: GridFrame | None = None,
    outline: Outline | None = None,
    account: AreaAccount | None = None,
) -> Iterator[FinishedRegions]:
    """Traces a label map strip by strip; regions come as soon as no later strip can add to them.

    Exact outlines are those of `trace_regions` on the whole map, vertex by vertex. Simplified ones are a valid coverage
    too; what runs along a seam between two strips stays as it was, so they depend on where the seams are: `recut` the
    strips for a result that does not. Regions that reach the last row are held, and nothing of the map itself.

    Args:
        strips: From top to bottom, of any height.
        frame: Moves the polygons to level-0 pixels; None leaves them in grid corners of the whole map.
        outline: How much simpler the outlines become; None keeps pixel edges.
        account: Told of the areas before and after, to be looked at later.
    """
    joiner = RegionJoiner(frame=frame)
    sheet = AreaAccount() if account is None else account
    for regions, tally in traced_pieces(strips, frame):
        yield joiner.add(regions if outline is None else outline.of(regions, sheet), tally)
    if (rest := joiner.finish()) is not None:
        yield rest


def traced_pieces(strips: Iterable[Strip], frame: GridFrame | None) -> Iterator[tuple[Regions, Tally]]:
    """The regions of each strip, cut off at its edges, where the whole map has them, and what is counted in them."""
    top = 0
    for strip in strips:
        if strip.height == 0:
            continue
        regions = placed(trace_regions(strip.labels), frame=frame, top=top)
        tally = tally_pixels(
            regions.components, len(regions), probabilities=strip.probabilities, prototypes=strip.prototypes
        )
        yield regions, tally
        top += strip.height
