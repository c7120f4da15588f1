"""The slide properties that may be shown and stored.

Scanners write names of patients, users and files, barcodes and dates into dozens of keys, and every version adds more.
So this is an allowlist, never a blocklist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_SAFE: Final = re.compile(
    r"""
    (openslide|tiffslide)\.(
        vendor | objective-power | mpp-[xy] | bounds-(x|y|width|height) | background-color | level-count
        | level\[\d+\]\.(width|height|downsample|tile-width|tile-height) | icc-size | quickhash-1
        | region\[\d+\]\.(x|y|width|height) | series-axes
    )
    | tiff\.(XResolution|YResolution|ResolutionUnit)
    | aperio\.(AppMag|MPP|OriginalWidth|OriginalHeight|Filtered|StripeWidth|ICC\ Profile)
    | hamamatsu\.(SourceLens|Objective\.Lens\.Magnificant|Product|Model)
    | leica\.(objective|illumination-source|aperture)
    | ventana\.(Magnification|ScanRes|ScanWhitePoint)
    | mirax\.GENERAL\.(OBJECTIVE_MAGNIFICATION|CAMERA_BITDEPTH|OUTPUT_RESOLUTION)
    | philips\.DICOM_(PIXEL_SPACING|BITS_STORED|LOSSY_IMAGE_COMPRESSION_METHOD)
    """,
    re.VERBOSE,
)

_SAFE_ASSOCIATED: Final = frozenset({"macro", "thumbnail", "map"})
"""Names of associated images that may be shown. The label image identifies the patient, so not even its name is passed
on; the pixels of the macro image often show the label too and are never read."""


def safe_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties about optics and geometry; none that could identify a person."""
    return {key: value for key, value in properties.items() if _SAFE.fullmatch(key)}


def safe_associated(names: tuple[str, ...]) -> tuple[str, ...]:
    """The associated images whose names may be shown."""
    return tuple(name for name in names if name in _SAFE_ASSOCIATED)
