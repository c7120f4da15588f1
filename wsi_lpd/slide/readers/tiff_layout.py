"""What a TIFF without a scanner's format holds: one bright-field picture, or more than anyone would read of it.

Libraries read the first image, plane or channel of such a file and pass over the rest in silence. Here the whole
directory is looked at before a pixel is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import tifffile

from wsi_lpd.errors import ImageError, SlideError
from wsi_lpd.images.coding import MIN_IS_BLACK, coding_of
from wsi_lpd.images.decode import opened_tiff

_MOST_OME_CHARACTERS: Final = 20_000_000
_IMAGE: Final = re.compile(r"<(?:\w+:)?Image\b[^>]*>(.*?)</(?:\w+:)?Image>", re.DOTALL)
_PLANES: Final = 3
"""Channels that are taken for red, green and blue."""


@dataclass(frozen=True)
class OmeImage:
    """One image of OME-XML.

    Attributes:
        name: As its author called it; may be empty.
        width: Pixels.
        height: Pixels.
        n_channels: Channels, where red, green and blue of one pixel are one.
        channels: Their names, as far as they have any.
        n_planes: Focal planes times points in time.
    """

    name: str
    width: int
    height: int
    n_channels: int
    channels: tuple[str, ...]
    n_planes: int


def check_layout(source: Any, *, location: str) -> bool:
    """Refuses a TIFF that holds more, or something else, than one bright-field picture.

    Args:
        source: A path, or a file object for tifffile.
        location: The slide's name in errors.

    Returns:
        Whether its red, green and blue are separate images, which only TiffSlide puts together.

    Raises:
        SlideError: If its colours cannot be RGB; if it holds several images, channels, focal planes or points in time
            of one size; if its first image is not the largest; or if it holds fewer tiles than its size needs.
    """
    try:
        with opened_tiff(source) as tiff:
            return _checked(tiff)
    except ImageError as err:
        raise SlideError(f"{location}: {err}") from err


def _checked(tiff: tifffile.TiffFile) -> bool:
    first = tiff.pages.first
    images = ome_images(tiff.ome_metadata or "")
    merges = _check_ome(images) if images else False
    if not merges:
        coding_of(first)
    _check_tiles(first)
    if not images:
        _check_pages([page.aspage() for page in tiff.pages])
    return merges


def ome_images(xml: str) -> list[OmeImage]:
    """The images of OME-XML, in its order; none where it is something else.

    Raises:
        ImageError: If it is larger than any that describes a slide.
    """
    if len(xml) > _MOST_OME_CHARACTERS:
        raise ImageError(f"has {len(xml)} characters of OME-XML, expected at most {_MOST_OME_CHARACTERS}")
    return [image for match in _IMAGE.finditer(xml) if (image := _ome_image(match)) is not None]


def _ome_image(match: re.Match[str]) -> OmeImage | None:
    head, body = match.group(0).split(">", 1)[0], match.group(1)
    pixels = re.search(r"<(?:\w+:)?Pixels\b([^>]*)>", body)
    if pixels is None:
        return None
    size = {axis: int(_attribute(pixels.group(1), f"Size{axis}", "1")) for axis in "XYCZT"}
    channels = re.findall(r"<(?:\w+:)?Channel\b([^>]*)>", body)
    samples = max([int(_attribute(channel, "SamplesPerPixel", "1")) for channel in channels], default=1)
    return OmeImage(
        name=_attribute(head, "Name", ""),
        width=size["X"],
        height=size["Y"],
        n_channels=max(1, size["C"] // max(1, samples)),
        channels=tuple(filter(None, (_attribute(channel, "Name", "") for channel in channels))),
        n_planes=size["Z"] * size["T"],
    )


def _attribute(text: str, name: str, default: str) -> str:
    found = re.search(rf'\b{name}="([^"]*)"', text)
    value = default if found is None else found.group(1)
    return value if not default.isdigit() or value.isdigit() else default


def _check_ome(images: Sequence[OmeImage]) -> bool:
    """Whether the first image is red, green and blue in separate planes."""
    first = images[0]
    largest = max(range(len(images)), key=lambda i: images[i].width * images[i].height)
    if images[largest].width * images[largest].height > first.width * first.height:
        raise ImageError(
            f"its first image is {_named(first)}, the largest is image {largest}, {_named(images[largest])}; "
            f"export that one alone (bfconvert -series {largest})"
        )
    if first.n_planes > 1:
        raise ImageError(f"holds {first.n_planes} focal planes or points in time, expected one; export one plane")
    if first.n_channels not in (1, _PLANES):
        names = f" ({', '.join(first.channels)})" if first.channels else ""
        raise ImageError(
            f"holds {first.n_channels} channels{names}, expected RGB; export the bright-field picture as 8-bit RGB"
        )
    return first.n_channels == _PLANES


def _named(image: OmeImage) -> str:
    name = f"{image.name!r}, " if image.name else ""
    return f"{name}{image.width}x{image.height} px"


def _check_tiles(page: tifffile.TiffPage) -> None:
    """Every tile or strip that the size calls for has an entry in the directory."""
    if page.is_tiled:
        across, down = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
    else:
        across, down = 1, -(-page.imagelength // max(1, min(page.rowsperstrip, page.imagelength)))
    expected = across * down * (page.samplesperpixel if page.planarconfig == 2 else 1)
    found = min(len(page.dataoffsets), len(page.databytecounts))
    if found < expected:
        kind = "tiles" if page.is_tiled else "strips"
        raise ImageError(
            f"says it is {page.imagewidth}x{page.imagelength} px, which takes {expected} {kind}, but holds {found}; "
            "its header is damaged: fetch or export it again"
        )


def _check_pages(pages: Sequence[tifffile.TiffPage]) -> None:
    """No two images of full size, as in a stack of focal planes, channels or sections."""
    first = pages[0]
    size = first.imagewidth, first.imagelength
    same = sum((page.imagewidth, page.imagelength) == size for page in pages)
    if same > 1:
        kind = "grey images" if int(first.photometric) == MIN_IS_BLACK else "images"
        raise ImageError(
            f"holds {same} {kind} of {size[0]}x{size[1]} px (focal planes, channels or sections), expected one and "
            "smaller copies of it; export one as 8-bit RGB"
        )
