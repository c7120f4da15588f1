"""Where the coordinates of a QuPath file begin: at the slide's bounds, as QuPath shows it, or at level 0's corner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wsi_lpd.errors import OverlayError
from wsi_lpd.types import Box

ORIGINS: Final = ("auto", "level0", "bounds")


def offset_of(metadata: Mapping[str, str], bounds: Box | None, *, origin: str = "auto", source: str) -> tuple[int, int]:
    """What to add to the positions of a file to get level-0 pixels.

    Args:
        metadata: Of the file; our own overlays state their origin and what was subtracted, QuPath states nothing.
        bounds: The slide's, where it states any.
        origin: `level0` adds nothing (QuPath's `--no-crop`), `bounds` adds the slide's bounds, `auto` believes the
            file, and else adds the bounds.
        source: The file, for errors.

    Raises:
        OverlayError: If `origin` is none of these, or the file states a damaged offset.
    """
    if origin not in ORIGINS:
        raise OverlayError(f"origin {origin!r}: expected one of {', '.join(ORIGINS)}")
    if origin == "auto":
        stated = stated_offset(metadata, source=source)
        if stated is not None:
            return stated
    return (0, 0) if bounds is None or origin == "level0" else (bounds.x, bounds.y)


def stated_offset(metadata: Mapping[str, str], *, source: str) -> tuple[int, int] | None:
    """The offset that a file itself states; None where it says nothing.

    Raises:
        OverlayError: If it is no pair of numbers.
    """
    try:
        if "offset_x_px" in metadata and "offset_y_px" in metadata:
            return int(float(metadata["offset_x_px"])), int(float(metadata["offset_y_px"]))
    except (ValueError, OverflowError) as err:
        found = f"{metadata['offset_x_px']!r}, {metadata['offset_y_px']!r}"
        raise OverlayError(f"{source}: found the offset {found} in its metadata, expected two numbers") from err
    return (0, 0) if metadata.get("origin", "").startswith("level0") else None
